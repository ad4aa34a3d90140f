"""The rule of payments: what evidence about one customer's orders means.

Facts and evidence in, decisions out. A receipt follows its evidence; orders, subscriptions and entitlements are then
folded anew from the receipts, so that confirming, reversing and restoring are the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import attrs
from attrs import frozen

from evmbilling.domain.access import Entitlement, entitle_purchase, entitle_subscription
from evmbilling.domain.catalogue import Finality, Heights, SubscriptionPlan
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
from evmbilling.domain.evidence import Halt, IntakeItem, Observation
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.journal import Journal, order_facts, plan_change
from evmbilling.domain.money import Asset
from evmbilling.domain.orders import Order
from evmbilling.domain.receipts import EntryKind, Evidence, Receipt, ReceiptEntry
from evmbilling.domain.standing import apply_standing, order_standing, paying_receipts, standing
from evmbilling.domain.states import (
    LIVE_SUBSCRIPTIONS,
    OPEN_ORDERS,
    PAID_ORDERS,
    RECEIPT_MOVES,
    SUPPORTING_RECEIPTS,
    OrderStatus,
    ReceiptStatus,
    check_move,
)
from evmbilling.domain.subscriptions import Subscription, SubscriptionChange

MismatchCode = Literal["wrong_chain", "wrong_contract", "wrong_token", "wrong_treasury", "wrong_payer"]
_ENTRY: Mapping[ReceiptStatus, EntryKind] = {
    ReceiptStatus.SEEN: "seen",
    ReceiptStatus.CREDITED: "credited",
    ReceiptStatus.FINAL: "final",
    ReceiptStatus.GONE: "gone",
    ReceiptStatus.REVERSED: "reversed",
    ReceiptStatus.DISPUTED: "disputed",
}


@frozen(kw_only=True)
class Depths:
    """When a network's blocks count, and how far it has come.

    Attributes:
        heights: ``head`` is the last block that the reader verified, not what a node claims.
        halt: set while the network stands still.

    """

    credit_after: Finality
    irreversible_after: Finality
    heights: Heights
    disputed_access: bool = True
    halt: Halt | None = None


@frozen(kw_only=True)
class Sighting:
    """One intake item with what is known about its movement.

    Attributes:
        observation: what the canonical log says; None when no canonical block holds it.
        order: the order that its reference names.

    """

    item: IntakeItem
    observation: Observation | None
    receipt: Receipt | None
    order: Order | None
    depths: Depths


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


def mismatch(observation: Observation, order: Order) -> MismatchCode | None:
    """Compare what the event says with the order's own row; return the first difference."""
    checks: tuple[tuple[bool, MismatchCode], ...] = (
        (observation.log.chain_id == order.chain_id, "wrong_chain"),
        (observation.contract == observation.log.address == order.contract, "wrong_contract"),
        (observation.token == order.asset.token, "wrong_token"),
        (observation.treasury == order.treasury, "wrong_treasury"),
        (observation.payer == order.wallet, "wrong_payer"),
    )
    return next((code for holds, code in checks if not holds), None)


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
    """Decide about money that no order of ours explains: it is kept in suspense, with its reason, and gives no access."""
    receipt, entries = follow_evidence(sighting, now=now, new_id=new_id, place=("suspense", reason), asset=asset)
    decisions: list[Decision] = [StoreReceipt(receipt)] if receipt is not None and entries else []
    decisions += [AppendEntry(entry) for entry in entries]
    return (*decisions, StoreItem(next_look(sighting, receipt)))


def follow_evidence(
    sighting: Sighting,
    *,
    now: datetime,
    new_id: Callable[[], str],
    place: tuple[Literal["order", "credit", "suspense"], str | None],
    asset: Asset,
) -> tuple[Receipt | None, tuple[ReceiptEntry, ...]]:
    """Bring a receipt in line with its evidence; return it with the journal entries of every step taken."""
    before, observation = sighting.receipt, sighting.observation
    if observation is None:
        return _without_evidence(before, sighting.depths, now)
    evidence = Evidence(
        block_number=observation.log.block_number,
        block_hash=observation.log.block_hash,
        block_time=observation.log.block_time,
        log_index=observation.log.log_index,
    )
    if before is None:
        order = sighting.order
        receipt = Receipt(
            receipt_id=new_id(),
            identity=observation.log.identity,
            ledger_id=order.ledger_id if order else None,
            user_id=order.user_id if order else None,
            allocation=place[0],
            reason=place[1],
            asset=asset,
            amount=observation.amount,
            payer=observation.payer,
            treasury=observation.treasury,
            evidence=evidence,
            status=ReceiptStatus.SEEN,
            first_seen_at=now,
            version=0,
        )
        steps = [ReceiptStatus.SEEN]
    else:
        receipt = attrs.evolve(before, evidence=evidence)
        back = before.status in {ReceiptStatus.GONE, ReceiptStatus.REVERSED}
        steps = [ReceiptStatus.SEEN] if back else []
    steps += _promotions(steps[-1] if steps else receipt.status, evidence, sighting.depths)
    return _walk(receipt, steps, now, moved=before is not None and before.evidence != evidence)


def next_look(sighting: Sighting, receipt: Receipt | None) -> IntakeItem:
    """Say when an item has to be looked at again: at the height of the next promotion, or when its evidence changes."""
    rules = {
        ReceiptStatus.SEEN: sighting.depths.credit_after,
        ReceiptStatus.CREDITED: sighting.depths.irreversible_after,
    }
    settled = IntakeItem(identity=sighting.item.identity, wait="never", reason=receipt.reason if receipt else None)
    if receipt is None or receipt.status not in rules:
        return settled
    rule, block = rules[receipt.status], receipt.evidence.block_number
    heights = sighting.depths.heights
    if rule.kind == "safe" and (heights.safe is not None or not rule.blocks):
        return attrs.evolve(settled, wait="safe", height=block)
    if rule.kind == "finalized" and (heights.finalized is not None or not rule.blocks):
        return attrs.evolve(settled, wait="finalized", height=block)
    return attrs.evolve(settled, wait="head", height=block + rule.blocks - 1)


def _without_evidence(
    before: Receipt | None, depths: Depths, now: datetime
) -> tuple[Receipt | None, tuple[ReceiptEntry, ...]]:
    if before is None:
        return None, ()
    lost = {
        ReceiptStatus.SEEN: ReceiptStatus.GONE,
        ReceiptStatus.CREDITED: ReceiptStatus.REVERSED,
        ReceiptStatus.DISPUTED: ReceiptStatus.REVERSED,
        # Below the irreversible height the chain is not believed without a person.
        ReceiptStatus.FINAL: ReceiptStatus.DISPUTED,
    }
    after = lost.get(before.status)
    return _walk(before, [after] if after else [], now, moved=False)


def _promotions(status: ReceiptStatus, evidence: Evidence, depths: Depths) -> list[ReceiptStatus]:
    if depths.halt is not None and evidence.block_number > depths.halt.at_block:
        supporting = status in {ReceiptStatus.CREDITED, ReceiptStatus.FINAL}
        return [ReceiptStatus.DISPUTED] if supporting else []
    steps: list[ReceiptStatus] = []
    credited = depths.credit_after.reached(evidence.block_number, depths.heights)
    final = depths.irreversible_after.reached(evidence.block_number, depths.heights)
    if status is ReceiptStatus.SEEN and (credited or final):
        steps.append(ReceiptStatus.CREDITED)
        status = ReceiptStatus.CREDITED
    if status is ReceiptStatus.DISPUTED:
        steps.append(ReceiptStatus.CREDITED)
        status = ReceiptStatus.CREDITED
    if status is ReceiptStatus.CREDITED and final:
        steps.append(ReceiptStatus.FINAL)
    return steps


def _walk(
    receipt: Receipt, steps: Sequence[ReceiptStatus], now: datetime, *, moved: bool
) -> tuple[Receipt, tuple[ReceiptEntry, ...]]:
    """Take a receipt through its steps, one journal entry each; the row's version grows once."""
    entries: list[ReceiptEntry] = []
    status = receipt.status
    for step in steps:
        status = check_move(RECEIPT_MOVES, status, step)
        entries.append(
            ReceiptEntry(
                receipt_id=receipt.receipt_id,
                seq=receipt.entries + len(entries) + 1,
                kind=_ENTRY[step],
                amount=receipt.amount,
                evidence=receipt.evidence,
                occurred_at=receipt.evidence.block_time,
                recorded_at=now,
            )
        )
    changed = bool(entries) or moved
    after = attrs.evolve(
        receipt,
        status=status,
        entries=receipt.entries + len(entries),
        version=receipt.version + 1 if changed else receipt.version,
    )
    return after, tuple(entries)


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

    def _place(
        self, observation: Observation, order: Order
    ) -> tuple[Literal["order", "credit", "suspense"], str | None]:
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
