"""How a subscription gives way to a checkout: one that was never paid, or one that has lapsed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.decisions import Decision
from evmbilling.domain.journal import Journal, order_facts
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import OrderStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.pausing_times import open_pause
from evmbilling.domain.subscriptions.standing import order_standing
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.errors import ChangeNeeded


def has_lapsed(
    live: Subscription, plan: SubscriptionPlan | None, changes: Sequence[SubscriptionChange], now: datetime
) -> bool:
    """Whether the next period to pay is over already, under a plan that forgives what was missed.

    Paying for it would give nothing: the user begins anew instead. Plans that accumulate arrears sell it all the same.
    While it is paused with paid time left nothing of it lapses: that time goes on when it is resumed.
    """
    table = live.table
    if _keeps_time(live, changes):
        return False
    if plan is None or plan.dunning.arrears != "forgive" or table is None or live.paid_until is None:
        return False
    return table.end(table.index_at(live.paid_until)) <= now


def _keeps_time(live: Subscription, changes: Sequence[SubscriptionChange]) -> bool:
    pause = open_pause(changes) if live.status is SubscriptionStatus.PAUSED else None
    return pause is not None and live.paid_until is not None and pause.since < live.paid_until


def in_flight(orders: Sequence[Order]) -> bool:
    """Whether money for one of these orders is being confirmed."""
    return any(order.status is OrderStatus.CONFIRMING for order in orders)


def supersede(order: Order, journal: Journal) -> Order:
    """Withdraw an open order; it stays watched."""
    after = order_standing(attrs.evolve(order, closed_as=OrderStatus.SUPERSEDED, version=order.version + 1), ())
    journal.publish(EventType.ORDER_SUPERSEDED, order_facts(after))
    return after


def end_lapsed(draft: SubscriptionDraft) -> Sequence[Decision]:
    """End a lapsed subscription: what was paid for it stays paid, its offers are withdrawn and its debts given up."""
    draft.end(by=draft.before.user_id, reason="lapsed")
    return draft.settle("end")


def abandon(draft: SubscriptionDraft) -> Sequence[Decision]:
    """Close a subscription that was never paid, so that another plan can be chosen.

    Raises:
        ChangeNeeded: a payment for it is being confirmed.

    """
    orders = draft.all_orders
    if in_flight(orders):
        raise ChangeNeeded(
            "a payment for the other plan is being confirmed",
            field="plan",
            subscription_id=draft.before.subscription_id,
        )
    draft.give_up(by=draft.before.user_id, reason="gave_way")
    return draft.settle("end")
