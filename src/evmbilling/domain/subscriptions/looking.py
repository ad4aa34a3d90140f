"""When a subscription has to be looked at: the next moment at which time alone gives the biller something to do.

The moment is stored with the subscription and found by one index. It may lie in the past: then somebody has been away,
or the chain has not been read that far, and what is due is done as soon as it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from attrs import frozen

from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import IN_FLIGHT_ORDERS, OPEN_ORDERS, PAID_ORDERS, OrderStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import add_days
from evmbilling.domain.subscriptions.dunning import DunningPolicy, failed_attempts, look_again
from evmbilling.domain.subscriptions.subscriptions import Debt, Subscription

_UNASKED = frozenset(
    {
        SubscriptionStatus.INCOMPLETE,
        SubscriptionStatus.PAUSED,
        SubscriptionStatus.ENDED,
        SubscriptionStatus.INCOMPLETE_EXPIRED,
    }
)
REPLACED = "replaced"
"""Why an order of a period was closed for good: something about it changed, and another one asks for that period."""
TOO_LATE = "deadline_passed"
"""Why an order was closed, or is not offered again."""
_SETTLING = timedelta(minutes=1)
"""How long after its deadline an offer that stands in the way is looked for again; by then it should be closed."""


@frozen(kw_only=True)
class Turns:
    """What was decided for later, and time alone will do.

    Attributes:
        moments: at which terms begin that are paid.
        pause: when a pause begins: nothing that falls due from then on is asked for.

    """

    moments: tuple[datetime, ...] = ()
    pause: datetime | None = None


def next_look(
    subscription: Subscription,
    orders: Sequence[Order],
    debts: Sequence[Debt],
    policy: DunningPolicy,
    *,
    turns: Turns = Turns(),
) -> datetime | None:
    """Return when time alone may change something; None when only a payment or a person can.

    Args:
        subscription: with its standing.
        orders: all of it.
        debts: what is owed.
        policy: of the pinned plan version.
        turns: what was decided for later.

    """
    leaves = subscription.status is SubscriptionStatus.PAUSED and subscription.cancel_at_period_end
    if subscription.status in _UNASKED and not leaves:
        return None
    if subscription.status is SubscriptionStatus.SCHEDULED and subscription.start_at is not None:
        return subscription.start_at
    if subscription.cancel_at_period_end:
        waits = any(is_in_flight(orders, o.period) for o in orders if o.period is not None)
        moments = [] if waits else [subscription.had_until]
        return min((m for m in [*moments, *turns.moments, turns.pause] if m is not None), default=None)
    moments = [*_asking(subscription, orders, debts, policy, turns), *turns.moments, turns.pause]
    if subscription.status is SubscriptionStatus.TRIALING and subscription.paid_until is not None:
        moments.append(subscription.trial_end)
    if debts:
        step = policy.step(subscription.dunning_state)
        moments.append(look_again(subscription, debts, failed_attempts(debts, orders), step, policy))
        moments.append(_unseen(subscription, grace_end(subscription, policy)))
    return min((moment for moment in moments if moment is not None), default=None)


def asks_at(subscription: Subscription, index: int, policy: DunningPolicy) -> datetime | None:
    """Return when the order of a period is made, all periods before it being settled; None without a calendar.

    Not before the period before it has begun.
    """
    table = subscription.table
    if table is None:
        return None
    before = table.start(index - 1) if index else subscription.start_at or subscription.created_at
    return max(before, add_days(table.start(index), -policy.lead_days, table.zone(index)))


def reminders_of(subscription: Subscription, order: Order, policy: DunningPolicy) -> tuple[datetime, ...]:
    """Return the moments at which people are reminded of an order, and that have not been handled."""
    table = subscription.table
    if table is None or order.due_at is None or order.period is None:
        return ()
    zone = table.zone(order.period)
    moments = [add_days(order.due_at, day, zone) for day in policy.reminders.of(order.failure_reason)]
    return tuple(m for m in moments if order.reminded_at is None or m > order.reminded_at)


def grace_end(subscription: Subscription, policy: DunningPolicy) -> datetime | None:
    """Return until when access stays open though nothing is paid any more; None without grace."""
    if subscription.paid_until is None or not policy.grace_days:
        return None
    table = subscription.table
    zone = table.zone(max(subscription.paid_periods - 1, 0)) if table is not None else subscription.zone
    return add_days(subscription.paid_until, policy.grace_days, zone)


def is_asked_by_biller(order: Order) -> bool:
    """Whether the biller made an order for a period: its renewal, or one that asks anew because something changed."""
    return order.origin in {"renewal", "change"} and order.period is not None


def renewal_orders(orders: Sequence[Order]) -> dict[int, Order]:
    """Return the order by which the biller asks for each period: there is one, or none."""
    asked = [o for o in orders if is_asked_by_biller(o) and (o.failure_reason != REPLACED or o.status in PAID_ORDERS)]
    return {o.period: o for o in sorted(asked, key=lambda o: o.ledger_id) if o.period is not None}


def stands_in_the_way(orders: Sequence[Order], period: int) -> Order | None:
    """Return an offer that somebody checked out for a period, and that can still be paid."""
    return next(
        (
            o
            for o in orders
            if o.period == period and not is_asked_by_biller(o) and o.status in OPEN_ORDERS and o.closed_as is None
        ),
        None,
    )


def is_in_flight(orders: Sequence[Order], period: int) -> bool:
    """Whether money for a period may be on its way."""
    return any(o.period == period and o.status in IN_FLIGHT_ORDERS for o in orders)


def may_be_offered_again(order: Order) -> bool:
    """Whether a renewal was withdrawn for something that may be over, so that it can be offered again."""
    withdrawn = order.closed_as in {OrderStatus.SUPERSEDED, OrderStatus.CANCELLED}
    late = order.claim == "forgiven" or order.failure_reason in {TOO_LATE, REPLACED}
    return withdrawn and not late and order.status is order.closed_as


def _asking(
    subscription: Subscription, orders: Sequence[Order], debts: Sequence[Debt], policy: DunningPolicy, turns: Turns
) -> list[datetime | None]:
    table = subscription.table
    if table is None:
        return []
    asked = renewal_orders(orders)
    following = subscription.paid_periods
    while following in asked:
        following += 1
    first = asks_at(subscription, following, policy)
    ahead = following == subscription.paid_periods and not debts
    quiet = turns.pause is not None and turns.pause <= table.start(following)
    moments: list[datetime | None] = []
    if not quiet:
        moments.append(_after(first if ahead else table.start(following), orders, following))
    for period, order in asked.items():
        if period < subscription.paid_periods or order.status in PAID_ORDERS or order.claim == "forgiven":
            continue
        if not is_in_flight(orders, period):
            moments += _of_order(subscription, order, orders, policy)
    return moments


def _of_order(
    subscription: Subscription, order: Order, orders: Sequence[Order], policy: DunningPolicy
) -> list[datetime | None]:
    """Return the moments of an order that is asked for and not paid."""
    if order.status is OrderStatus.FAILED:
        return [order.attempted_at]
    moments = [order.due_at] if order.claim is None and order.retry_at is None else []
    if may_be_offered_again(order):
        moments.append(_after(order.created_at, orders, order.period or 0))
    if order.status in OPEN_ORDERS and order.closed_as is None:
        moments += [order.retry_at, *reminders_of(subscription, order, policy)[:1]]
    return moments


def _unseen(subscription: Subscription, moment: datetime | None) -> datetime | None:
    """Return a moment unless the biller has been there."""
    seen = moment is None or (subscription.looked_at is not None and moment <= subscription.looked_at)
    return None if seen else moment


def _after(moment: datetime | None, orders: Sequence[Order], period: int) -> datetime | None:
    """Return a moment, or when an offer that stands in the way is over."""
    other = stands_in_the_way(orders, period)
    if moment is None or other is None:
        return moment
    return max(moment, other.late_after + _SETTLING)
