"""The intake: what evidence means for orders, in small batches, aggregates locked, exactly once.

Exactly once comes from the unique keys of receipts and their entries, not from sharing a commit with the cursor. A row
that the host holds locked is passed over; an item that cannot be understood is parked with its reason; others flow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

import attrs
from attrs import frozen

from evmbilling.domain.catalogue import Network, PaymentContract, PaymentGateway
from evmbilling.domain.customers import Customer
from evmbilling.domain.decisions import Decision, StoreItem
from evmbilling.domain.evidence import ChainLog, Cursor, IntakeItem, Observation
from evmbilling.domain.identity import CreditIdentity, is_ours
from evmbilling.domain.judgement import Depths, Sighting
from evmbilling.domain.ledger import order_owner
from evmbilling.domain.money import Asset
from evmbilling.domain.orders import Order
from evmbilling.domain.payments import CustomerFacts, settle_payments, settle_unmatched
from evmbilling.domain.receipts import Receipt
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.engine.context import Ports, Runner
from evmbilling.errors import BillingError, RetryTransaction
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

PARK_FIRST = timedelta(seconds=30)
PARK_LONGEST = timedelta(hours=6)
WIDEST = 5000
"""How many items are claimed at most to get past those of customers that somebody holds."""


@frozen(kw_only=True)
class IntakeReport:
    """What one call of the intake did: items taken, parked with a reason, and left because somebody holds the row."""

    taken: int = 0
    parked: int = 0
    left: int = 0


def run_intake(ports: Ports, runner: Runner, *, limit: int) -> IntakeReport:
    """Take in one batch per network; see :meth:`evmbilling.engine.core.Engine.run_intake`."""
    total = IntakeReport()
    for cursor in runner.read(lambda unit: unit.cursors()):
        report = _take_network(ports, runner, cursor.chain_id, limit)
        total = IntakeReport(
            taken=total.taken + report.taken,
            parked=total.parked + report.parked,
            left=total.left + report.left,
        )
    return total


def _take_network(ports: Ports, runner: Runner, chain_id: int, limit: int) -> IntakeReport:
    try:
        report = runner.write(lambda unit: _Batch(ports, unit, chain_id).take(limit))
        while report.left and not report.taken + report.parked and limit < WIDEST:
            # The whole batch belongs to customers that somebody holds: look past them.
            limit *= 4
            report = runner.write(partial(_take_up_to, ports, chain_id, limit))
    except RetryTransaction:
        return IntakeReport(left=1)
    except BillingError:
        # One of them cannot be written: find it by taking them one at a time.
        return _one_by_one(ports, runner, chain_id, limit)
    return report


def _take_up_to(ports: Ports, chain_id: int, limit: int, unit: Unit) -> IntakeReport:
    return _Batch(ports, unit, chain_id).take(limit)


def _one_by_one(ports: Ports, runner: Runner, chain_id: int, limit: int) -> IntakeReport:
    """Take the items of a batch alone, each once; park what cannot be written and pass over what somebody holds."""
    total = IntakeReport()
    tried: set[CreditIdentity] = set()
    for _ in range(limit):
        before = len(tried)
        report = _take_one(ports, runner, chain_id, limit, tried)
        if len(tried) == before:
            break
        total = IntakeReport(
            taken=total.taken + report.taken, parked=total.parked + report.parked, left=total.left + report.left
        )
    return total


def _take_one(ports: Ports, runner: Runner, chain_id: int, limit: int, tried: set[CreditIdentity]) -> IntakeReport:
    """Take the first item that was not tried; nothing is added to ``tried`` when there is none."""
    known = frozenset(tried)
    try:
        return runner.write(lambda unit: _Batch(ports, unit, chain_id, known, tried).take(limit, most=1))
    except RetryTransaction:
        return IntakeReport(left=1)
    except BillingError as error:
        reason = error.code
    return runner.write(lambda unit: _Batch(ports, unit, chain_id, known, tried).park_first(limit, reason))


class _Batch:
    """The items that one unit has claimed, and what has to be known about them."""

    def __init__(
        self,
        ports: Ports,
        unit: Unit,
        chain_id: int,
        known: frozenset[CreditIdentity] = frozenset(),
        tried: set[CreditIdentity] | None = None,
    ) -> None:
        self._ports = ports
        self._unit = unit
        self._chain_id = chain_id
        self._known = known
        self._tried = tried
        self._now = ports.clock.now()
        self._decisions: list[Decision] = []
        self._gateways: Mapping[str, PaymentGateway] = {}
        self._taken = self._parked = self._left = 0

    def take(self, limit: int, *, most: int | None = None) -> IntakeReport:
        """Take in up to ``limit`` items; with ``most``, so many of those that were not tried before."""
        items, cursor = self._claim(limit, most)
        if items and cursor is not None:
            sightings = self._sight(items, cursor)
            named = [s for s in sightings if s.order is not None]
            for sighting in sightings:
                if sighting.order is None:
                    self._settle_unnamed(sighting)
            self._settle_named(named)
            self._unit.apply(self._decisions)
        return IntakeReport(taken=self._taken, parked=self._parked, left=self._left)

    def park_first(self, limit: int, reason: str) -> IntakeReport:
        """Park the first item that was not tried before, whose decisions could not be written."""
        items, _ = self._claim(limit, 1)
        for item in items:
            self._park(item, reason)
        self._unit.apply(self._decisions)
        return IntakeReport(parked=self._parked)

    def _claim(self, limit: int, most: int | None) -> tuple[Sequence[IntakeItem], Cursor | None]:
        cursor = self._unit.cursor(self._chain_id)
        if cursor is None:
            return (), None
        claimed = self._unit.claim_items(self._chain_id, cursor, self._now, limit + len(self._known))
        items = [item for item in claimed if item.identity not in self._known][:most]
        if self._tried is not None:
            self._tried.update(item.identity for item in items)
        return items, cursor

    def _sight(self, items: Sequence[IntakeItem], cursor: Cursor) -> list[Sighting]:
        """Put each item together with its canonical log, decoded, its receipt and the order that it names."""
        identities = [item.identity for item in items]
        logs = self._unit.logs_of(identities)
        receipts = self._unit.receipts_by_identity(identities)
        network, provider, contracts = self._binding()
        depths = _depths(network, cursor)
        seen = {i: _decode(provider, contracts, log) for i, log in logs.items()}
        orders = self._named_orders(seen, receipts)
        return [
            Sighting(
                item=item,
                observation=seen.get(item.identity),
                receipt=receipts.get(item.identity),
                order=orders.get(item.identity),
                depths=depths,
            )
            for item in items
        ]

    def _named_orders(
        self, seen: Mapping[CreditIdentity, Observation | None], receipts: Mapping[CreditIdentity, Receipt]
    ) -> dict[CreditIdentity, Order]:
        """Return the order of each movement: the one of its receipt, else the one that its log names."""
        references = {o.reference for i, o in seen.items() if o is not None and i not in receipts}
        by_reference = self._unit.orders_by_reference(references) if references else {}
        named = {
            i: by_reference[o.reference]
            for i, o in seen.items()
            if o is not None and i not in receipts and o.reference in by_reference
        }
        for identity, receipt in receipts.items():
            order = self._unit.order(receipt.ledger_id) if receipt.ledger_id else None
            if order is not None:
                named[identity] = order
        return named

    def _binding(self) -> tuple[Network, Provider, Mapping[str, PaymentContract]]:
        network = next(n for n in self._unit.networks() if n.chain_id == self._chain_id)
        contracts = {c.address: c for c in self._unit.contracts(self._chain_id)}
        self._gateways = {g.slug: g for g in self._unit.gateways()}
        selling = [g.provider for g in self._gateways.values() if network.name in g.networks]
        name = selling[0] if selling else next(iter(self._ports.providers), "evm")
        return network, self._ports.provider(name), contracts

    def _settle_unnamed(self, sighting: Sighting) -> None:
        """Money with no order of ours: a foreign reference is left alone, ours without an order is suspense."""
        observation, receipt = sighting.observation, sighting.receipt
        self._taken += 1
        ours = observation is not None and is_ours(observation.reference, self._ports.storage.instance_id())
        if receipt is None and not ours:
            reason = "not_a_payment" if observation is None else "foreign_reference"
            self._ports.telemetry.count("evidence_ignored", reason=reason)
            self._decisions.append(StoreItem(attrs.evolve(sighting.item, wait="never", reason=reason)))
            return
        asset = receipt.asset if receipt else self._asset_of(observation)
        self._decisions += settle_unmatched(
            sighting, asset=asset, reason="no_order", now=self._now, new_id=self._ports.ids.new_id
        )

    def _asset_of(self, observation: Observation | None) -> Asset:
        """Name the asset of unexplained money: as a plan prices it, else by its address alone."""
        token = observation.token if observation else ""
        for plan in self._unit.plans():
            for price in plan.prices:
                if (price.asset.chain_id, price.asset.token) == (self._chain_id, token):
                    return price.asset
        return Asset(chain_id=self._chain_id, token=token, decimals=0, symbol="?")

    def _settle_named(self, sightings: Sequence[Sighting]) -> None:
        by_user: dict[str, list[Sighting]] = defaultdict(list)
        for sighting in sightings:
            if sighting.order is not None:
                by_user[sighting.order.user_id].append(sighting)
        locked = self._unit.lock_customers(by_user, skip_locked=True) if by_user else {}
        shelf = _Shelf(self._unit, [s.order for u in locked for s in by_user[u] if s.order])
        for user_id, own in by_user.items():
            if user_id not in locked:
                self._left += len(own)
                continue
            try:
                self._decisions += settle_payments(
                    shelf.facts(locked[user_id]),
                    [self._with_gateway_policy(s) for s in own],
                    now=self._now,
                    new_id=self._ports.ids.new_id,
                )
                self._taken += len(own)
            except BillingError as error:
                for sighting in own:
                    self._park(sighting.item, error.code)

    def _with_gateway_policy(self, sighting: Sighting) -> Sighting:
        """Use the gateway's own credit depth where it has one."""
        gateway = self._gateways.get(sighting.order.gateway_slug) if sighting.order else None
        if gateway is None or gateway.credit_after is None:
            return sighting
        return attrs.evolve(sighting, depths=attrs.evolve(sighting.depths, credit_after=gateway.credit_after))

    def _park(self, item: IntakeItem, reason: str) -> None:
        pause = min(PARK_FIRST * 2 ** min(item.attempts, 16), PARK_LONGEST)
        self._decisions.append(StoreItem(parked(item, reason, self._now + pause)))
        self._parked += 1
        self._ports.telemetry.count("evidence_parked", reason=reason)


class _Shelf:
    """Everything stored that these orders' customers need, read in one go after the customers were locked."""

    def __init__(self, unit: Unit, orders: Sequence[Order]) -> None:
        fresh = unit.orders_by_reference({o.reference for o in orders})
        self._orders = {o.ledger_id: o for o in fresh.values()}
        subscription_ids = {o.subscription_id for o in self._orders.values() if o.subscription_id}
        if subscription_ids:
            self._orders |= {o.ledger_id: o for o in unit.orders_of_subscriptions(subscription_ids)}
        self._subscriptions = unit.subscriptions(subscription_ids)
        self._changes = unit.changes(subscription_ids)
        self._receipts = unit.receipts_of_orders(self._orders)
        self._entitlements = unit.entitlements({o.user_id for o in self._orders.values()})
        # What a paid order may give back is what is still deferred of it; the customers are locked.
        paid = [order_owner(o.ledger_id) for o in self._orders.values() if o.status in PAID_ORDERS]
        self._balances = unit.balances(paid) if paid else ()
        self._plans = unit.plan_versions({(o.plan_slug, o.plan_version) for o in self._orders.values()})

    def facts(self, customer: Customer) -> CustomerFacts:
        """Return one customer's part."""
        orders = [o for o in self._orders.values() if o.user_id == customer.user_id]
        subscriptions = [s for s in self._subscriptions.values() if s.user_id == customer.user_id]
        own_orders = {o.ledger_id for o in orders}
        own_subscriptions = {s.subscription_id for s in subscriptions}
        return CustomerFacts(
            customer=customer,
            orders=orders,
            subscriptions=subscriptions,
            changes=[c for c in self._changes if c.subscription_id in own_subscriptions],
            receipts=[r for r in self._receipts if r.ledger_id in own_orders],
            entitlements=[e for e in self._entitlements if e.user_id == customer.user_id],
            plans=self._plans,
            balances=[b for b in self._balances if b.owner.removeprefix(order_owner("")) in own_orders],
        )


def parked(item: IntakeItem, reason: str, retry_at: datetime) -> IntakeItem:
    """Return the item as it waits for its next attempt."""
    return attrs.evolve(item, wait="time", retry_at=retry_at, attempts=item.attempts + 1, reason=reason)


def _decode(provider: Provider, contracts: Mapping[str, PaymentContract], log: ChainLog) -> Observation | None:
    contract = contracts.get(log.address)
    return provider.decode(log, contract) if contract is not None else None


def _depths(network: Network, cursor: Cursor) -> Depths:
    return Depths(
        credit_after=network.credit_after,
        irreversible_after=network.irreversible_after,
        heights=cursor.heights,
        disputed_access=network.disputed_access,
        halt=cursor.halt,
    )
