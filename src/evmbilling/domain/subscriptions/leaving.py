"""Leaving, staying, moving: what a customer decides about a running subscription."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from attrs import frozen

from evmbilling.domain.messages.events import EventType
from evmbilling.domain.refunds.shortening import left_by_choice, shortened
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import (
    IN_FLIGHT_ORDERS,
    OPEN_ORDERS,
    OVER_SUBSCRIPTIONS,
    OWING_SUBSCRIPTIONS,
    OrderStatus,
    SubscriptionStatus,
)
from evmbilling.domain.subscriptions.calendar import Period
from evmbilling.domain.subscriptions.changes import counts_what_is_due, withdraw
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.looking import is_in_flight, renewal_orders
from evmbilling.domain.subscriptions.pausing_times import open_pause, running_moment
from evmbilling.domain.subscriptions.subscriptions import Debt, Subscription
from evmbilling.domain.subscriptions.telling import subscription_facts
from evmbilling.domain.subscriptions.terms import Waiting
from evmbilling.errors import Conflict, IllegalTransition

CancelWhen = Literal["now", "period_end"]
LEAVING = "leaving"
GIVEN_BACK = "given_back"
_ON_ITS_WAY = frozenset({OrderStatus.SUBMITTED, OrderStatus.UNKNOWN})


@frozen(kw_only=True)
class CancelRequest:
    """A customer leaves: now, or at the end of what is paid."""

    subscription_id: str
    when: CancelWhen
    by: str
    reason: str | None = None


@frozen(kw_only=True)
class ZoneRequest:
    """A customer's calendar goes on in another zone, from the next boundary on."""

    subscription_id: str
    zone: str
    by: str


@frozen(kw_only=True)
class SubscriptionView:
    """A subscription as its customer sees it, and the answer to every change of it.

    Attributes:
        period: the one that runs now; None while none does.
        debts: what is owed, the oldest first.
        ends_at: when it ends: it was cancelled at the end of what is paid, or it is over.
        waiting: the change of its terms that waits to be paid, or for a period to begin.
        pause: since when it is paused, or from when on it will be.
        remaining: how much of the paid time is kept while it is paused.

    """

    subscription: Subscription
    period: Period | None
    debts: tuple[Debt, ...]
    ends_at: datetime | None
    waiting: Waiting | None = None
    pause: datetime | None = None
    remaining: timedelta | None = None


def view(draft: SubscriptionDraft) -> SubscriptionView:
    """Return the subscription as it stands after what was decided."""
    held, table = draft.held, draft.held.table
    index = table.index_at(draft.now) if table is not None else -1
    over = held.status in OVER_SUBSCRIPTIONS
    paused, pause = held.status is SubscriptionStatus.PAUSED, open_pause(draft.changes) if not over else None
    running = table.period(index) if table is not None and index >= 0 and not over and not paused else None
    ended = max((c.effective_at for c in draft.changes if c.kind in {"end", "expire"}), default=None)
    return SubscriptionView(
        subscription=held,
        period=running,
        debts=draft.fold().debts,
        ends_at=ended if over else held.had_until if held.cancel_at_period_end else None,
        waiting=None if over else draft.book.waiting,
        pause=pause.since if pause is not None else None,
        remaining=held.had_until - pause.since if paused and pause is not None and held.had_until else None,
    )


def cancel(draft: SubscriptionDraft, request: CancelRequest) -> None:
    """End a subscription now, or at the end of what is paid; the same again changes nothing.

    What is owed is given up; what was paid stays paid. Who owes something has no paid time left, and leaves at once.

    Raises:
        Conflict: a payment for a subscription that was never paid is being confirmed.

    """
    draft.fold()
    held = draft.held
    if held.status in OVER_SUBSCRIPTIONS:
        return
    if held.status is SubscriptionStatus.INCOMPLETE or held.had_until is None:
        _give_up(draft, request)
    elif request.when == "now" or held.status in OWING_SUBSCRIPTIONS:
        draft.end(by=request.by, reason=request.reason or "cancelled", at=draft.now)
    elif not held.cancel_at_period_end:
        if not counts_what_is_due(draft):
            # Who leaves does not want to become something else first.
            withdraw(draft, by=request.by)
        draft.record("cancel_at_period_end", by=request.by, reason=request.reason)
        _close_offers(draft, renewal_orders(draft.all_orders).values())
    else:
        return
    draft.audit("subscription.cancel", request.by, when=request.when, reason=request.reason)


def leave_behind(draft: SubscriptionDraft, period: int, paid_to: int, *, by: str) -> None:
    """Write down with which period a subscription ends because that, and all after it, was given back.

    Args:
        draft: of the subscription.
        period: the first one that is not used.
        paid_to: the first one that nobody knew to be paid when it was asked to give back: money for that one and later
            ones buys nothing. Place the money anew afterwards.
        by: who decided.

    """
    draft.record("cancel_at_period_end", by=by, period=period, paid_to=paid_to, reason=GIVEN_BACK)


def shorten(draft: SubscriptionDraft, period: int, paid_to: int, *, by: str) -> None:
    """Let a subscription end with a period because that, and all that is paid after it, was given back.

    Nothing is asked for any more, and what is offered is withdrawn. Arguments as :func:`leave_behind`.
    """
    draft.fold()
    if not counts_what_is_due(draft):
        withdraw(draft, by=by)
    leave_behind(draft, period, paid_to, by=by)
    _close_offers(draft, draft.all_orders)
    draft.audit("subscription.shorten", by, period=period)


def lengthen(draft: SubscriptionDraft, *, by: str) -> None:
    """Let a subscription go on to the end of what is paid, because the chain took back what had been given back.

    Who had cancelled leaves then.
    """
    if left_by_choice(draft.changes):
        draft.record("cancel_at_period_end", by=by)
        draft.audit("subscription.lengthen", by)
    else:
        _stay(draft, by)


def _close_offers(draft: SubscriptionDraft, offers: Iterable[Order]) -> None:
    """Withdraw offers of a subscription that leaves, and say when it does."""
    for order in list(offers):
        # A charge that is not signed yet is not sent any more; one that was may still come, and is a period then.
        if order.status in OPEN_ORDERS | _ON_ITS_WAY and order.closed_as is None:
            draft.put(order, closed_as=OrderStatus.CANCELLED, failure_reason=LEAVING)
    draft.fold()
    ends_at = draft.held.had_until
    facts = subscription_facts(draft.held) | {"ends_at": ends_at.isoformat() if ends_at is not None else None}
    draft.journal.publish(EventType.SUBSCRIPTION_LEAVING, facts)


def undo_cancel(draft: SubscriptionDraft, by: str) -> None:
    """Let a subscription that was to end at the end of what is paid go on; nothing when it was not to end.

    Raises:
        IllegalTransition: it is over.
        Conflict: it ends because what was paid to come was given back; ``reason`` is ``given_back``.

    """
    draft.fold()
    if draft.held.status in OVER_SUBSCRIPTIONS:
        raise IllegalTransition("this subscription is over", field="subscription_id", before=str(draft.held.status))
    if shortened(draft.changes) is not None:
        raise Conflict(
            "what was paid to come was given back: check out once this is over",
            field="subscription_id",
            reason=GIVEN_BACK,
        )
    if draft.held.cancel_at_period_end:
        _stay(draft, by)


def _stay(draft: SubscriptionDraft, by: str) -> None:
    draft.record("undo_cancel", by=by)
    for order in renewal_orders(draft.all_orders).values():
        charged = order.status in _ON_ITS_WAY | {OrderStatus.FAILED}
        if charged and order.closed_as is OrderStatus.CANCELLED and order.claim != "forgiven":
            draft.put(order, closed_as=None)
    draft.journal.publish(EventType.SUBSCRIPTION_STAYING, subscription_facts(draft.held))
    draft.audit("subscription.undo_cancel", by)


def change_zone(draft: SubscriptionDraft, request: ZoneRequest) -> None:
    """Count a subscription's calendar in another zone, from the first boundary on that is not asked for yet.

    Raises:
        IllegalTransition: it is over.

    """
    draft.fold()
    held, table = draft.held, draft.held.table
    if held.status in OVER_SUBSCRIPTIONS:
        raise IllegalTransition("this subscription is over", field="subscription_id", before=str(held.status))
    asked = max(renewal_orders(draft.all_orders), default=-1)
    begun = table.index_at(running_moment(draft.changes, draft.now)) if table is not None else -1
    period = max(begun + 1, held.paid_periods, asked + 1)
    if table is not None and table.zone(period) == request.zone:
        return
    draft.record("zone", by=request.by, period=period, zone=request.zone)
    draft.audit("subscription.zone", request.by, zone=request.zone, period=period)


def _give_up(draft: SubscriptionDraft, request: CancelRequest) -> None:
    """Close a subscription that was never paid."""
    orders = draft.all_orders
    if any(is_in_flight(orders, o.period or 0) or o.status in IN_FLIGHT_ORDERS for o in orders):
        raise Conflict("a payment for it is being confirmed; cancel it afterwards", field="subscription_id")
    draft.give_up(by=request.by, reason=request.reason)
