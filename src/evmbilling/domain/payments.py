"""The rule of payments: what evidence about one customer's orders means.

Facts and evidence in, decisions out. A receipt follows its evidence; orders, subscriptions and entitlements are then
folded anew from the receipts, so that confirming, reversing and restoring are the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import attrs
from attrs import frozen

from evmbilling.domain.access import Entitlement, entitle_purchase, entitle_subscription
from evmbilling.domain.catalogue import SubscriptionPlan
from evmbilling.domain.customers import Customer
from evmbilling.domain.decisions import (
    AppendEntry,
    Decision,
    StoreEntitlement,
    StoreItem,
    StoreOrder,
    StoreReceipt,
    StoreSubscription,
)
from evmbilling.domain.events import EventType, PlanChangeCause
from evmbilling.domain.evidence import Observation
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.journal import Journal, order_facts, plan_change
from evmbilling.domain.judgement import Place, Sighting, follow_evidence, mismatch, next_look
from evmbilling.domain.money import Asset
from evmbilling.domain.orders import Order
from evmbilling.domain.receipts import Receipt, ReceiptEntry
from evmbilling.domain.standing import apply_standing, order_standing, paying_receipts, standing
from evmbilling.domain.states import (
    LIVE_SUBSCRIPTIONS,
    OPEN_ORDERS,
    PAID_ORDERS,
    SUPPORTING_RECEIPTS,
    OrderStatus,
    ReceiptStatus,
)
from evmbilling.domain.subscriptions import Subscription, SubscriptionChange


@frozen(kw_only=True)
class CustomerFacts:
    """Everything stored that the customer's payments touch. The customer is locked."""

    customer: Customer
    orders: Sequence[Order]
    subscriptions: Sequence[Subscription]
    changes: Sequence[SubscriptionChange]
    receipts: Sequence[Receipt]
    entitlements: Sequence[Entitlement]
    plans: Mapping[tuple[str, int], SubscriptionPlan]


def settle_payments(
    facts: CustomerFacts, sightings: Sequence[Sighting], *, now: datetime, new_id: Callable[[], str]
) -> tuple[Decision, ...]:
    """Decide what a customer's sightings mean.

    Raises:
        IllegalTransition: the stored rows contradict the state tables; the caller parks the items.

    """
    draft = _Draft(facts, now, new_id)
    for sighting in sightings:
        draft.take(sighting)
    draft.refold(sightings[0].depths.disputed_access if sightings else True)
    return tuple(draft.decisions) + draft.journal.decisions()


def settle_unmatched(
    sighting: Sighting, *, asset: Asset, reason: str, now: datetime, new_id: Callable[[], str]
) -> tuple[Decision, ...]:
    """Decide about money that no order of ours explains: it is kept in suspense with its reason and gives no access."""
    receipt, entries = follow_evidence(sighting, now=now, new_id=new_id, place=("suspense", reason), asset=asset)
    decisions: list[Decision] = [StoreReceipt(receipt)] if receipt is not None and entries else []
    decisions += [AppendEntry(entry) for entry in entries]
    return (*decisions, StoreItem(next_look(sighting, receipt)))


class _Draft:
    """The working copy of one customer's facts, and the decisions that grow out of it."""

    def __init__(self, facts: CustomerFacts, now: datetime, new_id: Callable[[], str]) -> None:
        self.now = now
        self.new_id = new_id
        self.journal = Journal(facts.customer, now, new_id)
        self.decisions: list[Decision] = []
        self.orders = {o.ledger_id: o for o in facts.orders}
        self.subscriptions = {s.subscription_id: s for s in facts.subscriptions}
        self.receipts: dict[CreditIdentity, Receipt] = {r.identity: r for r in facts.receipts}
        self.entitlements = {e.source_id: e for e in facts.entitlements}
        self.changes = facts.changes
        self.plans = facts.plans
        self.touched: dict[str, datetime] = {}

    def take(self, sighting: Sighting) -> None:
        """Bring one receipt in line with its evidence."""
        identity = sighting.item.identity
        current = self.receipts.get(identity)
        order = self.orders[sighting.order.ledger_id] if sighting.order else None
        sighting = attrs.evolve(sighting, receipt=current, order=order)
        if order is None:
            self.decisions.append(StoreItem(next_look(sighting, current)))
            return
        observation = sighting.observation
        place = self._place(observation, order) if observation and current is None else ("order", None)
        receipt, entries = follow_evidence(sighting, now=self.now, new_id=self.new_id, place=place, asset=order.asset)
        if receipt is not None and receipt != current:
            self.receipts[identity] = receipt
            self.decisions.append(StoreReceipt(receipt))
            self.decisions += [AppendEntry(entry) for entry in entries]
            self.touched[order.ledger_id] = receipt.evidence.block_time
            self._tell_receipt(receipt, entries, order)
        self.decisions.append(StoreItem(next_look(sighting, receipt)))

    def refold(self, disputed_access: bool) -> None:
        """Fold orders, subscriptions and entitlements of everything touched."""
        for ledger_id, occurred_at in self.touched.items():
            self._refold_order(ledger_id, occurred_at)
        for ledger_id, occurred_at in self.touched.items():
            order = self.orders[ledger_id]
            disputed = not disputed_access and any(
                r.status is ReceiptStatus.DISPUTED and r.ledger_id == ledger_id for r in self.receipts.values()
            )
            plan = self.plans[(order.plan_slug, order.plan_version)]
            if order.subscription_id is None:
                self._entitle(entitle_purchase(order, plan, disputed=disputed), occurred_at)
            else:
                self._refold_subscription(order, disputed=disputed, occurred_at=occurred_at)

    def _place(self, observation: Observation, order: Order) -> Place:
        """Say what a new receipt counts for."""
        different = mismatch(observation, order)
        if different is not None:
            return "suspense", different
        if observation.log.block_time > order.deadline:
            return "credit", "late"
        live = sum(
            r.amount
            for r in self.receipts.values()
            if r.ledger_id == order.ledger_id
            and r.allocation == "order"
            and (r.status in SUPPORTING_RECEIPTS or r.status is ReceiptStatus.SEEN)
        )
        if live >= order.amount:
            return "credit", "duplicate"
        if order.subscription_id is not None:
            if self.subscriptions[order.subscription_id].status not in LIVE_SUBSCRIPTIONS:
                return "credit", "subscription_ended"
            siblings = [o for o in self.orders.values() if o.subscription_id == order.subscription_id]
            if order.period in paying_receipts(siblings, list(self.receipts.values())):
                return "credit", "period_paid"
        return "order", None

    def _refold_order(self, ledger_id: str, occurred_at: datetime) -> None:
        before = self.orders[ledger_id]
        after = order_standing(before, self.receipts.values())
        if after == before:
            return
        after = attrs.evolve(after, version=before.version + 1)
        self.orders[ledger_id] = after
        self.decisions.append(StoreOrder(after))
        told = {
            OrderStatus.CONFIRMED: EventType.PAYMENT_CONFIRMED,
            OrderStatus.FINAL: EventType.PAYMENT_FINAL,
            OrderStatus.REVERSED: EventType.PAYMENT_REVERSED,
        }
        if after.status is OrderStatus.FINAL and before.status not in PAID_ORDERS:
            self.journal.publish(EventType.PAYMENT_CONFIRMED, order_facts(after), occurred_at=occurred_at)
        if after.status != before.status and after.status in told:
            self.journal.publish(told[after.status], order_facts(after), occurred_at=occurred_at)
        if after.status in PAID_ORDERS and before.status not in PAID_ORDERS:
            self._close_siblings(after)

    def _close_siblings(self, paid: Order) -> None:
        """Withdraw other open offers for a period that is paid now."""
        for order in list(self.orders.values()):
            same = order.subscription_id == paid.subscription_id and order.period == paid.period
            is_open = order.status in OPEN_ORDERS and order.closed_as is None
            if paid.subscription_id is None or not same or not is_open or order.ledger_id == paid.ledger_id:
                continue
            closed = attrs.evolve(
                order, closed_as=OrderStatus.CANCELLED, failure_reason="period_paid", version=order.version + 1
            )
            closed = order_standing(closed, self.receipts.values())
            self.orders[order.ledger_id] = closed
            self.decisions.append(StoreOrder(closed))

    def _refold_subscription(self, order: Order, *, disputed: bool, occurred_at: datetime) -> None:
        before = self.subscriptions[order.subscription_id or ""]
        orders = [o for o in self.orders.values() if o.subscription_id == before.subscription_id]
        changes = [c for c in self.changes if c.subscription_id == before.subscription_id]
        result = standing(before, orders, list(self.receipts.values()), changes, self.now)
        after = apply_standing(before, result)
        if after != before:
            after = attrs.evolve(after, version=before.version + 1)
            self.subscriptions[before.subscription_id] = after
            self.decisions.append(StoreSubscription(after))
            self._tell_subscription(before, after, occurred_at)
        plan = self.plans[(after.plan_slug, after.plan_version)]
        self._entitle(entitle_subscription(after, plan, disputed=disputed), occurred_at)

    def _entitle(self, after: Entitlement, occurred_at: datetime) -> None:
        before = self.entitlements.get(after.source_id)
        if after == before:
            return
        self.entitlements[after.source_id] = after
        self.decisions.append(StoreEntitlement(after))
        cause: PlanChangeCause = "payment" if after.basis == "paid" else "reversal"
        plan_change(self.journal, before, after, now=self.now, cause=cause, occurred_at=occurred_at)

    def _tell_receipt(self, receipt: Receipt, entries: Sequence[ReceiptEntry], order: Order) -> None:
        facts = order_facts(order) | {
            "receipt_id": receipt.receipt_id,
            "tx_hash": "0x" + receipt.identity.tx_hash.hex(),
            "received": str(receipt.amount),
        }
        if receipt.allocation != "order" and receipt.version == 1:
            facts |= {"allocation": receipt.allocation, "reason": receipt.reason}
            self.journal.publish(EventType.PAYMENT_UNMATCHED, facts, occurred_at=receipt.evidence.block_time)
        elif receipt.allocation == "order" and any(entry.kind == "seen" for entry in entries):
            self.journal.publish(EventType.PAYMENT_SEEN, facts, occurred_at=receipt.evidence.block_time)

    def _tell_subscription(self, before: Subscription, after: Subscription, occurred_at: datetime) -> None:
        if before.status == after.status:
            return
        self.journal.publish(
            EventType.SUBSCRIPTION_MOVED,
            {
                "subscription_id": after.subscription_id,
                "product": str(after.product),
                "plan": after.plan_slug,
                "before": str(before.status),
                "after": str(after.status),
                "paid_until": after.paid_until.isoformat() if after.paid_until else None,
            },
            occurred_at=occurred_at,
        )
