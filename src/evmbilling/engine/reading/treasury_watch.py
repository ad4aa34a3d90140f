"""Which treasuries are watched, which tokens, and which of their transfers are worth keeping."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway
from evmbilling.domain.decisions import Decision, WatchTreasury
from evmbilling.domain.payments.treasury import Treasury
from evmbilling.domain.reading.evidence import ChainLog, WatchSet
from evmbilling.domain.reading.log_columns import LogColumns
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit


def watch_treasuries(unit: Unit, gateway: PaymentGateway) -> tuple[Decision, ...]:
    """Return the decisions that begin to watch a gateway's treasuries; those that are watched already stay so.

    A treasury is accounted for from the next block that is read, or from where reading of its network begins.
    """
    found: list[Decision] = []
    for name, address in gateway.treasuries:
        network = unit.network(name)
        if network is not None and address not in {t.address for t in unit.treasuries(network.chain_id)}:
            found.append(WatchTreasury(_treasury(unit, network, address)))
    return tuple(found)


def unwatched(unit: Unit, network: Network) -> tuple[Decision, ...]:
    """Return the decisions that begin to watch treasuries of gateways that were saved before transfers were read."""
    known = {t.address for t in unit.treasuries(network.chain_id)}
    named = {gateway.treasury(network.name) for gateway in unit.gateways()} - known
    return tuple(WatchTreasury(_treasury(unit, network, address)) for address in sorted(a for a in named if a))


@frozen(kw_only=True)
class Watch:
    """What the reader looks for on a chain at one time.

    Attributes:
        treasuries: where accounting starts for each.

    """

    contracts: Sequence[PaymentContract]
    tokens: Sequence[str]
    treasuries: Sequence[Treasury]

    @classmethod
    def load(cls, unit: Unit, chain_id: int) -> Watch:
        """Read it: every bound contract, every token that any plan prices, every treasury."""
        return cls(
            contracts=unit.contracts(chain_id),
            tokens=sorted({asset.token for asset in unit.priced_assets(chain_id)}),
            treasuries=unit.treasuries(chain_id),
        )

    def ask(self, provider: Provider) -> WatchSet:
        """Return the watch set."""
        addresses = [treasury.address for treasury in self.treasuries]
        return provider.watch(self.contracts, tokens=self.tokens, treasuries=addresses)

    def keep(self, provider: Provider, logs: Sequence[ChainLog]) -> Sequence[ChainLog]:
        """Return the logs that are evidence.

        A transfer of nothing costs its sender only gas: such logs are sent in thousands to put look-alike addresses
        into histories, and leave no row. What moved before a treasury's start is its opening balance.
        """
        emitting = {contract.address for contract in self.contracts if contract.kind != "erc20"}
        since = {treasury.address: treasury.since_block for treasury in self.treasuries}
        newest = max(since.values(), default=0)
        if isinstance(logs, LogColumns):
            told = zip(logs.address, logs.block_number, logs.data, strict=True)
            plain = [who in emitting or bool(number >= newest and data.strip(b"\0")) for who, number, data in told]
            if all(plain):
                return logs
            return logs.chosen([kept or self._counts(provider, logs[at], since) for at, kept in enumerate(plain)])
        return tuple(
            [
                log
                for log in logs
                if log.address in emitting
                # A transfer of something, when every treasury is accounted for: that is so for nearly all of them.
                or (log.block_number >= newest and log.data.strip(b"\0"))
                or self._counts(provider, log, since)
            ]
        )

    def _counts(self, provider: Provider, log: ChainLog, since: dict[str, int]) -> bool:
        seen = provider.decode_transfer(log)
        if seen is None or seen.amount == 0:
            return False
        return any(log.block_number >= since[party] for party in (seen.payer, seen.treasury) if party in since)


def _treasury(unit: Unit, network: Network, address: str) -> Treasury:
    cursor = unit.cursor(network.chain_id)
    start = cursor.block.number + 1 if cursor is not None else network.start_block or 0
    return Treasury(chain_id=network.chain_id, address=address, since_block=start)
