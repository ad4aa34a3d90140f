"""Treasuries against the chain: what moved explains what they hold, at the block up to which we have read.

Other nodes than the one that is read from are asked where there are others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.payments.treasury import Treasury
from evmbilling.domain.reading.evidence import BlockHeader
from evmbilling.engine.context import Runner
from evmbilling.engine.verify.books import Sums
from evmbilling.engine.verify.elsewhere import Search, Witnesses
from evmbilling.engine.verify.report import CoinDelta, Findings
from evmbilling.errors import BillingError
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit


@frozen(kw_only=True)
class ChainQuestion:
    """What a node has to be asked about one network.

    Attributes:
        block: the block up to which the chain has been read; None before the first.
        tokens: addresses of every token that a plan prices there.

    """

    network: Network
    provider: Provider
    block: BlockHeader | None
    treasuries: Sequence[Treasury]
    tokens: Sequence[str]


def load_questions(unit: Unit, providers: Mapping[int, Provider]) -> tuple[ChainQuestion, ...]:
    """Return what has to be asked of every network that has a treasury."""
    questions: list[ChainQuestion] = []
    for network in unit.networks():
        treasuries = unit.treasuries(network.chain_id)
        cursor = unit.cursor(network.chain_id)
        if treasuries and network.chain_id in providers:
            questions.append(
                ChainQuestion(
                    network=network,
                    provider=providers[network.chain_id],
                    block=cursor.block if cursor is not None else None,
                    treasuries=treasuries,
                    tokens=sorted({a.token for a in unit.priced_assets(network.chain_id)}),
                )
            )
    return tuple(questions)


class TreasuryCheck:
    """Asks the nodes and compares.

    Args:
        runner: reads the evidence again when a delta has to be explained.
        sums: what moved, by (chain id, treasury, token).
        openings: what was there before, where it was posted.
        booked: what the books say that treasuries hold.

    """

    def __init__(self, findings: Findings, runner: Runner, *, sums: Sums, openings: Sums, booked: Sums) -> None:
        self._findings = findings
        self._runner = runner
        self._sums = sums
        self._openings = openings
        self._booked = booked
        self.coins: list[CoinDelta] = []

    def run(self, questions: Sequence[ChainQuestion]) -> None:
        """Compare every treasury; what no node can say is unproved, never proved."""
        for question in questions:
            if question.block is None:
                continue
            subject = f"network:{question.network.name}"
            try:
                witnesses = Witnesses.of(question.provider, question.network, question.block)
            except BillingError as error:
                self._findings.add("unproved", subject, reason=error.code)
                continue
            if not witnesses.sources:
                self._findings.add("unproved", subject, reason="block_changed")
                continue
            for treasury in question.treasuries:
                for token in question.tokens:
                    self._check_token(question, witnesses, treasury, token, question.block.number)
                self._check_coin(witnesses, treasury, question.block.number)

    def _check_token(
        self, question: ChainQuestion, witnesses: Witnesses, treasury: Treasury, token: str, block: int
    ) -> None:
        key = (treasury.chain_id, treasury.address, token)
        subject = f"treasury:{treasury.chain_id}:{treasury.address}:{token}"
        self._findings.looked_at("treasuries", 1)
        try:
            opening = self._openings.get(key)
            if opening is None:
                opening = witnesses.ask(lambda source: _before(source, treasury, token))
            found = witnesses.ask(lambda source: source.balance(token, treasury.address, block))
        except BillingError as error:
            self._findings.add("unproved", subject, reason=error.code)
            return
        expected = opening + self._sums.get(key, 0)
        if expected != found:
            self._findings.add("unexplained_delta", subject, expected=expected, found=found)
            search = Search(
                provider=question.provider, treasury=treasury, token=token, last=block, delta=found - expected
            )
            self._explain(search, witnesses)

    def _explain(self, search: Search, witnesses: Witnesses) -> None:
        """Name the transfers that another node shows and that were never read."""
        try:
            unread = witnesses.ask(lambda source: search.run(source, self._runner))
        except BillingError as error:
            self._findings.add("unproved", f"search:{search.token}", reason=error.code)
            return
        for transfer in unread:
            subject = f"transaction:{transfer.log.chain_id}:0x{transfer.log.tx_hash.hex()}"
            reason = f"block_{transfer.log.block_number}"
            self._findings.add("transfer_not_read", subject, found=transfer.amount, reason=reason)

    def _check_coin(self, witnesses: Witnesses, treasury: Treasury, block: int) -> None:
        try:
            held = witnesses.ask(lambda source: source.balance(NATIVE_COIN, treasury.address, block))
        except BillingError as error:
            subject = f"treasury:{treasury.chain_id}:{treasury.address}:{NATIVE_COIN}"
            self._findings.add("unproved", subject, reason=error.code)
            return
        booked = self._booked.get((treasury.chain_id, treasury.address, NATIVE_COIN), 0)
        self.coins.append(CoinDelta(chain_id=treasury.chain_id, treasury=treasury.address, balance=held, booked=booked))


def _before(source: ChainSource, treasury: Treasury, token: str) -> int:
    """Ask what a treasury held before it was watched; a node without old states cannot say."""
    return source.balance(token, treasury.address, treasury.since_block - 1) if treasury.since_block > 0 else 0
