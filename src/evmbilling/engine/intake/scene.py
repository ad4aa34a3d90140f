"""What a batch of the intake knows about its transactions: every canonical log of them, decoded and paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Protocol

import attrs

from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.catalogue.catalogue import MAPPED, Network, PaymentContract, PaymentGateway
from evmbilling.domain.identity import CreditIdentity, token_mark
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import HALTS, contract_subject, token_subject
from evmbilling.domain.payments.judgement import Depths
from evmbilling.domain.payments.matching import match_member
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.paired_money import PairedMoney, is_foreign, is_waiting, pair_money, told_again
from evmbilling.domain.payments.treasury import pair_transfers
from evmbilling.domain.reading.evidence import ChainLog, Cursor, IntakeItem, Observation
from evmbilling.domain.refunds.burning import subscription_of
from evmbilling.domain.selling.orders import DEPOSIT, Order
from evmbilling.engine.admin.token_decimals import assets_by_token
from evmbilling.engine.context import Ports
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Storage, Unit

_NATIVE_DECIMALS = 18


class Scene:
    """The transactions behind some intake items of one chain, read in one go."""

    def __init__(self, ports: Ports, unit: Unit, items: Sequence[IntakeItem], cursor: Cursor) -> None:
        self._unit = unit
        self._storage = ports.storage
        self.items = items
        self.chain_id = cursor.chain_id
        self.network, self.provider = self._binding(ports)
        self.depths = depths_of(self.network, cursor)
        self.seen: dict[CreditIdentity, Observation] = {}
        self.events: dict[CreditIdentity, Observation] = {}
        self.unclear: dict[CreditIdentity, str] = {}
        self.doubtful: set[CreditIdentity] = set()
        self._transfers: dict[CreditIdentity, tuple[Observation, ...]] = {}
        self.load({item.identity.tx_hash for item in items})
        own = {item.identity for item in items}
        paying = {event.log.identity for event in self.events.values() if event.kind == "payment"}
        self.receipts = dict(unit.receipts_by_identity(own | paying))
        transfers = {i for i, seen in self.seen.items() if seen.kind == "transfer"}
        self.movements = dict(unit.movements(own | transfers))
        self.orders = self._named_orders(own)
        self._name()

    def load(self, tx_hashes: set[bytes]) -> None:
        """Read and pair the canonical logs of more transactions."""
        logs = self._unit.logs_of_transactions(self.chain_id, tx_hashes) if tx_hashes else ()
        by_transaction: dict[bytes, list[Observation]] = {tx_hash: [] for tx_hash in tx_hashes}
        for log in logs:
            found = self._decode(log)
            if found is not None:
                by_transaction[log.tx_hash].append(found)
        for observations in by_transaction.values():
            paired = pair_up(self._unit, observations, self, self._storage)
            self.seen |= {seen.log.identity: seen for seen in paired.seen}
            self.unclear |= paired.unclear
            self.doubtful |= {*paired.doubtful, *told_again(paired.seen)}
            self.events |= paired.pairs
            for moved, event in paired.pairs.items():
                known = self._transfers.get(event.log.identity, ())
                self._transfers[event.log.identity] = (*known, self.seen[moved])

    def transfer_of(self, event: CreditIdentity) -> Observation | None:
        """Return the token's transfer that an event is about; the first of several."""
        return next(iter(self.transfers_of(event)), None)

    def transfers_of(self, event: CreditIdentity) -> tuple[Observation, ...]:
        """Return the token's transfers that an event is about."""
        return self._transfers.get(event, ())

    def ways(self, seen: Observation) -> tuple[bool, bool]:
        """Return whether a transfer leaves a treasury and whether it reaches one."""
        return seen.payer in self.treasuries, seen.treasury in self.treasuries

    @cached_property
    def treasuries(self) -> frozenset[str]:
        """Every treasury of the chain."""
        return frozenset(treasury.address for treasury in self._unit.treasuries(self.chain_id))

    @cached_property
    def gateways(self) -> Mapping[str, PaymentGateway]:
        """All gateways by slug."""
        return {gateway.slug: gateway for gateway in self._unit.gateways()}

    @cached_property
    def policies(self) -> Mapping[str, MisfitPolicy]:
        """What happens to misfits, by the gateway's slug."""
        return {slug: gateway.misfits for slug, gateway in self.gateways.items()}

    @cached_property
    def halted(self) -> Mapping[str, str]:
        """What stands still of the batch's tokens and contracts until a person has looked, and the kind of its item."""
        about = {token_subject(self.chain_id, seen.token): seen.token for seen in self.seen.values()}
        speaking = {seen.contract for seen in self.seen.values() if seen.kind != "transfer"}
        about |= {contract_subject(self.chain_id, contract): contract for contract in speaking}
        open_items = [item for item in self._unit.queue_items_of(about) if item.state == "open"]
        return {about[item.subject]: item.kind for item in open_items if item.kind in HALTS}

    def is_dust(self, seen: Observation) -> bool:
        """Whether a transfer is too small for a person's time by every policy of its treasury."""
        policies = [g.misfits for g in self.gateways.values() if g.treasury(self.network.name) == seen.treasury]
        return bool(policies) and all(p.is_dust(self.asset_of(seen.token), seen.amount) for p in policies)

    def asset_of(self, token: str) -> Asset:
        """Name an asset as a plan prices it, else by its address alone; never as the token names itself."""
        if token == NATIVE_COIN:
            symbol = self.network.native_symbol
            return Asset(chain_id=self.chain_id, token=token, decimals=_NATIVE_DECIMALS, symbol=symbol)
        unknown = Asset(chain_id=self.chain_id, token=token, decimals=0, symbol="?")
        return self._assets.get(token, unknown)

    @cached_property
    def _assets(self) -> Mapping[str, Asset]:
        return assets_by_token(self._unit, self.chain_id)

    @cached_property
    def _contracts(self) -> Mapping[str, PaymentContract]:
        return {c.address: c for c in self._unit.contracts(self.chain_id) if c.kind != "erc20"}

    def contract_at(self, address: str) -> PaymentContract | None:
        """Return the contract that is bound at an address."""
        return self._contracts.get(address)

    def _binding(self, ports: Ports) -> tuple[Network, Provider]:
        network = next(n for n in self._unit.networks() if n.chain_id == self.chain_id)
        selling = [g.provider for g in self.gateways.values() if network.name in g.networks]
        return network, ports.provider(selling[0] if selling else next(iter(ports.providers), "evm"))

    def _decode(self, log: ChainLog) -> Observation | None:
        seen = decode_log(self.provider, log, self._contracts.get(log.address))
        return seen if seen is None or seen.rail != DEPOSIT or self._reaches_us(seen) else None

    def _reaches_us(self, seen: Observation) -> bool:
        """Whether a deposit address was swept to a treasury of ours, in something that we sell in.

        Anybody can have the contract say this of a treasury or a token of their own.
        """
        return seen.treasury in self.treasuries and (seen.token == NATIVE_COIN or seen.token in self._assets)

    def _named_orders(self, identities: set[CreditIdentity]) -> dict[CreditIdentity, Order]:
        """Return the order of each movement: the one of its receipt, else the one that its log names."""
        named: dict[CreditIdentity, Order] = {}
        fresh = {i: self.seen[i].reference for i in identities if i in self.seen and i not in self.receipts}
        references = {reference for reference in fresh.values() if reference}
        by_reference = self._unit.orders_by_reference(references) if references else {}
        for identity, reference in fresh.items():
            if reference in by_reference:
                named[identity] = by_reference[reference]
        named |= self._members({i for i in fresh if self.seen[i].found_by == "token_id"})
        known = {i: ledger_id for i in identities & self.receipts.keys() if (ledger_id := self.receipts[i].ledger_id)}
        by_id = self._unit.orders(set(known.values())) if known else {}
        return named | {i: by_id[ledger_id] for i, ledger_id in known.items() if ledger_id in by_id}

    def _members(self, identities: set[CreditIdentity]) -> dict[CreditIdentity, Order]:
        """Return the orders of payments that say only which membership they are for."""
        numbers = {i: number for i in identities if (number := self.seen[i].subscription) is not None}
        marks = {i: token_mark(self.chain_id, self.seen[i].contract, number) for i, number in numbers.items()}
        # A number that the contract gave itself is known from the orders that were to be paid under it.
        given = self._unit.orders_by_reference(set(marks.values())) if marks else {}
        members = {
            i: given[marks[i]].subscription_id if marks[i] in given else subscription_of(number)
            for i, number in numbers.items()
        }
        ids = {subscription_id for subscription_id in members.values() if subscription_id}
        family = self._unit.orders_of_subscriptions(ids) if ids else ()
        found: dict[CreditIdentity, Order] = {}
        for identity, subscription_id in members.items():
            own = [o for o in family if o.subscription_id == subscription_id]
            order = match_member(self.seen[identity], own)
            if order is not None:
                found[identity] = order
        return found

    def _name(self) -> None:
        """Let payments whose events hold only the hash of a reference name it."""
        for identity, order in self.orders.items():
            seen = self.seen.get(identity)
            if seen is not None and order.call is not None and order.call.mark and seen.reference == order.call.mark:
                self.seen[identity] = attrs.evolve(seen, reference=order.reference)


class Treasuries(Protocol):
    """Whoever knows the treasuries of a chain."""

    @property
    def treasuries(self) -> frozenset[str]:
        """Every treasury of the chain."""
        ...


def decode_log(provider: Provider, log: ChainLog, contract: PaymentContract | None) -> Observation | None:
    """Return what a log says: of the contract that is bound at its address, else as a token's transfer.

    A contract that is bound by configuration may be the token itself.
    """
    seen = provider.decode(log, contract) if contract is not None else None
    if contract is None or (seen is None and contract.kind == MAPPED):
        return provider.decode_transfer(log)
    return seen


def pair_up(unit: Unit, observations: Sequence[Observation], chain: Treasuries, storage: Storage) -> PairedMoney:
    """Put the events of one transaction together with its transfers; asks the storage only where that has to be."""
    if not any(map(is_waiting, observations)):
        return PairedMoney(seen=tuple(observations), pairs=pair_transfers(observations))
    moved = [seen.log.identity for seen in observations if seen.kind == "transfer"]
    received, instance_id = unit.receipts_by_identity(moved), storage.instance_id()
    tokens = {seen.token for seen in observations if seen.kind == "transfer"}
    others = {seen.reference for seen in observations if is_foreign(seen, tokens, instance_id)}
    return pair_money(
        observations,
        treasuries=chain.treasuries,
        received=received,
        instance_id=instance_id,
        known=unit.orders_by_reference(others) if others else (),
    )


def depths_of(network: Network, cursor: Cursor) -> Depths:
    """Return when a network's blocks count, and how far it has been read."""
    return Depths(
        credit_after=network.credit_after,
        irreversible_after=network.irreversible_after,
        heights=cursor.heights,
        disputed_access=network.disputed_access,
        halt=cursor.halt,
    )
