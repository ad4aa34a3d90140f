"""What other nodes than the one that we read from say about treasuries: what was hidden from us has a name there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.payments.treasury import Treasury
from evmbilling.domain.reading.evidence import BlockHeader, Observation
from evmbilling.engine.context import Runner
from evmbilling.errors import BillingError
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.nodes import Nodes
from evmbilling.ports.provider import Provider

SEARCHED_BLOCKS: Final = 5000
"""How far back the transfers behind an unexplained delta are looked for; what is verified every day needs less."""
_STEP: Final = 100
T = TypeVar("T")


@frozen
class Witnesses:
    """A network's nodes for verification: others than the one in use first, that one when they cannot say.

    A node that hides a transfer may agree with itself about the balance too, but not with another one.
    """

    sources: tuple[ChainSource, ...]

    @classmethod
    def of(cls, provider: Provider, network: Network, block: BlockHeader) -> Witnesses:
        """Return the nodes that have this very block; none when it has changed.

        Raises:
            BillingError: none of them could be asked.

        """
        usual = provider.chain(network)
        other = provider.elsewhere(network) if isinstance(provider, Nodes) else usual
        candidates = [usual] if other is usual else [other, usual]
        found: list[ChainSource] = []
        fault: BillingError | None = None
        for source in candidates:
            try:
                header = source.header(block.number)
            except BillingError as error:
                fault = error
                continue
            if header is not None and header.hash == block.hash:
                found.append(source)
        if fault is not None and not found:
            raise fault
        return cls(tuple(found))

    def ask(self, question: Callable[[ChainSource], T]) -> T:
        """Return the first answer.

        Raises:
            BillingError: the last one could not say either.

        """
        *first, last = self.sources
        for source in first:
            try:
                return question(source)
            except BillingError:
                continue  # it may keep no old states, or be gone: the next one is asked
        return question(last)


@frozen(kw_only=True)
class Search:
    """The transfers behind a treasury's unexplained delta.

    Attributes:
        delta: what the treasury holds beyond what we know, base units of the token.

    """

    provider: Provider
    treasury: Treasury
    token: str
    last: int
    delta: int

    def run(self, source: ChainSource, runner: Runner) -> Sequence[Observation]:
        """Return transfers that this source shows and our evidence does not hold, the newest blocks first.

        It ends when they explain the delta, or after ``SEARCHED_BLOCKS``.
        """
        watch = self.provider.watch([], tokens=[self.token], treasuries=[self.treasury.address])
        floor = max(self.treasury.since_block, self.last - SEARCHED_BLOCKS + 1, 0)
        found: list[Observation] = []
        for last in range(self.last, floor - 1, -_STEP):
            headers = source.headers(max(last - _STEP + 1, floor), last)
            seen = [self.provider.decode_transfer(log) for log in source.logs(headers, watch)]
            found += self._unread([transfer for transfer in seen if transfer is not None and transfer.amount], runner)
            if sum(map(self._sign, found)) == self.delta:
                break
        return found

    def _unread(self, seen: Sequence[Observation], runner: Runner) -> Sequence[Observation]:
        if not seen:
            return ()
        identities = [transfer.log.identity for transfer in seen]
        known = runner.read(lambda unit: set(unit.logs_of(identities)))
        return [transfer for transfer in seen if transfer.log.identity not in known]

    def _sign(self, transfer: Observation) -> int:
        came = transfer.treasury == self.treasury.address
        left = transfer.payer == self.treasury.address
        return transfer.amount * (came - left)
