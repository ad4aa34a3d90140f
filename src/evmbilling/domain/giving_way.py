"""How a subscription gives way to a checkout: one that was never paid, or one that has lapsed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs
from attrs import frozen

from evmbilling.domain.access import entitle_subscription, entitled_plan
from evmbilling.domain.catalogue import SubscriptionPlan
from evmbilling.domain.decisions import Decision, RecordChange, StoreEntitlement, StoreOrder, StoreSubscription
from evmbilling.domain.events import EventType
from evmbilling.domain.journal import Journal, order_facts, plan_change, tell_subscription
from evmbilling.domain.orders import Order
from evmbilling.domain.standing import apply_standing, order_standing, standing
from evmbilling.domain.states import OPEN_ORDERS, OrderStatus, SubscriptionStatus
from evmbilling.domain.subscriptions import ChangeKind, Subscription, SubscriptionChange
from evmbilling.errors import ChangeNeeded


@frozen(kw_only=True)
class Held:
    """A live subscription with everything stored about it."""

    live: Subscription
    plan: SubscriptionPlan | None
    orders: Sequence[Order]
    changes: Sequence[SubscriptionChange]


def has_lapsed(live: Subscription, plan: SubscriptionPlan | None, now: datetime) -> bool:
    """Whether the next period to pay is over already, under a plan that forgives what was missed.

    Paying for it would give nothing: the user begins anew instead. Plans that accumulate arrears sell it all the same.
    """
    table = live.table
    if plan is None or plan.dunning.arrears != "forgive" or table is None or live.paid_until is None:
        return False
    return table.end(table.index_at(live.paid_until)) <= now


def in_flight(orders: Sequence[Order]) -> bool:
    """Whether money for one of these orders is being confirmed."""
    return any(order.status is OrderStatus.CONFIRMING for order in orders)


def supersede(order: Order, journal: Journal) -> Order:
    """Withdraw an open order; it stays watched."""
    after = order_standing(attrs.evolve(order, closed_as=OrderStatus.SUPERSEDED, version=order.version + 1), ())
    journal.publish(EventType.ORDER_SUPERSEDED, order_facts(after))
    return after


def end_lapsed(held: Held, now: datetime, journal: Journal) -> list[Decision]:
    """End a lapsed subscription: what was paid for it stays paid, its open offers are withdrawn."""
    change = _change(held, "end", now)
    closed = attrs.evolve(
        held.live, status=SubscriptionStatus.ENDED, next_charge_at=None, debt=0, version=held.live.version + 1
    )
    return _closed(held, closed, change, journal)


def abandon(held: Held, now: datetime, journal: Journal) -> list[Decision]:
    """Close a subscription that was never paid, so that another plan can be chosen."""
    if in_flight(held.orders):
        raise ChangeNeeded(
            "a payment for the other plan is being confirmed", field="plan", subscription_id=held.live.subscription_id
        )
    change = _change(held, "expire", now)
    closed = apply_standing(held.live, standing(held.live, held.orders, (), [*held.changes, change], now))
    return _closed(held, attrs.evolve(closed, version=held.live.version + 1), change, journal)


def _change(held: Held, kind: ChangeKind, now: datetime) -> SubscriptionChange:
    return SubscriptionChange(
        subscription_id=held.live.subscription_id,
        seq=len(held.changes) + 1,
        kind=kind,
        effective_at=now,
        recorded_at=now,
        by=held.live.user_id,
    )


def _closed(held: Held, closed: Subscription, change: SubscriptionChange, journal: Journal) -> list[Decision]:
    open_orders = [o for o in held.orders if o.status in OPEN_ORDERS and o.closed_as is None]
    withdrawn = [StoreOrder(supersede(order, journal)) for order in open_orders]
    tell_subscription(journal, held.live, closed, occurred_at=change.effective_at)
    entitle: list[Decision] = []
    if held.plan is not None:
        was, becomes = (entitle_subscription(s, held.plan) for s in (held.live, closed))
        at = change.effective_at
        was = attrs.evolve(was, told=entitled_plan(was, at))
        entitle = [StoreEntitlement(plan_change(journal, was, becomes, now=at, cause="end", occurred_at=at))]
    return [*withdrawn, RecordChange(change), StoreSubscription(closed), *entitle]
