"""How a subscription ends at once, by somebody's decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from evmbilling.domain.access import entitle_subscription, entitled_plan
from evmbilling.domain.decisions import Decision, RecordChange, StoreEntitlement, StoreOrder, StoreSubscription
from evmbilling.domain.events import EventType
from evmbilling.domain.giving_way import Held
from evmbilling.domain.journal import Journal, order_facts, plan_change, tell_subscription
from evmbilling.domain.orders import Order
from evmbilling.domain.receipts import Receipt
from evmbilling.domain.standing import apply_standing, order_standing, standing
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, OPEN_ORDERS, OrderStatus
from evmbilling.domain.subscriptions import SubscriptionChange


def end_subscription(
    held: Held, receipts: Sequence[Receipt], *, by: str, now: datetime, journal: Journal
) -> list[Decision]:
    """End a live subscription now: access closes, open offers are withdrawn; what was paid stays as it is.

    Nothing is decided for one that is over already.

    Raises:
        IllegalTransition: the stored rows contradict the state tables.

    """
    before = held.live
    if before.status not in LIVE_SUBSCRIPTIONS:
        return []
    change = SubscriptionChange(
        subscription_id=before.subscription_id,
        seq=len(held.changes) + 1,
        kind="end",
        effective_at=now,
        recorded_at=now,
        by=by,
    )
    folded = standing(before, held.orders, receipts, [*held.changes, change], now)
    after = attrs.evolve(apply_standing(before, folded), version=before.version + 1)
    decisions: list[Decision] = [_withdraw(o, receipts, journal) for o in held.orders if _is_open(o)]
    decisions += [RecordChange(change), StoreSubscription(after)]
    tell_subscription(journal, before, after, occurred_at=now)
    if held.plan is not None:
        was, becomes = (entitle_subscription(s, held.plan) for s in (before, after))
        was = attrs.evolve(was, told=entitled_plan(was, now))
        becomes = plan_change(journal, was, becomes, now=now, cause="end", occurred_at=now)
        decisions.append(StoreEntitlement(becomes))
    return decisions


def _is_open(order: Order) -> bool:
    return order.status in OPEN_ORDERS and order.closed_as is None


def _withdraw(order: Order, receipts: Sequence[Receipt], journal: Journal) -> StoreOrder:
    closed = attrs.evolve(
        order, closed_as=OrderStatus.CANCELLED, failure_reason="subscription_ended", version=order.version + 1
    )
    closed = order_standing(closed, receipts)
    journal.publish(EventType.ORDER_CANCELLED, order_facts(closed))
    return StoreOrder(closed)
