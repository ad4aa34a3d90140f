"""Pausing: paid time is kept, nothing is asked for, and access is closed until it is resumed."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen

from evmbilling.domain.journal import order_facts
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.states import OPEN_ORDERS, OVER_SUBSCRIPTIONS, OrderStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.changeable import check_running, first_free
from evmbilling.domain.subscriptions.changes import withdraw
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.pausing_times import open_pause
from evmbilling.domain.subscriptions.terms import REPLACING
from evmbilling.errors import Conflict, IllegalTransition

PauseWhen = Literal["now", "period_end"]
_NOT_BEGUN = frozenset({SubscriptionStatus.SCHEDULED, SubscriptionStatus.INCOMPLETE, SubscriptionStatus.TRIALING})


@frozen(kw_only=True)
class PauseRequest:
    """A customer pauses: now, keeping what is left of the paid time, or at its end."""

    subscription_id: str
    when: PauseWhen
    by: str
    reason: str | None = None


def pause(draft: SubscriptionDraft, request: PauseRequest) -> None:
    """Pause a subscription; the same again changes nothing.

    Open offers are withdrawn. A change that waits for the next period waits on; one within the period is dropped.

    Raises:
        IllegalTransition: it is over, has not begun, or is on trial.
        Conflict: something is owed, it is to end, or the next period is paid in part.

    """
    draft.fold()
    held, known = draft.held, open_pause(draft.changes)
    if held.status in OVER_SUBSCRIPTIONS | _NOT_BEGUN:
        raise IllegalTransition("only what runs can be paused", field="subscription_id", before=str(held.status))
    if held.status is SubscriptionStatus.PAUSED or (known is not None and request.when == "period_end"):
        return
    check_running(draft, "paused")
    since = draft.now if request.when == "now" else held.paid_until or draft.now
    if any(o.status is OrderStatus.PARTIALLY_PAID for o in draft.all_orders if o.period is not None):
        raise Conflict(
            "a period is paid in part; it has to be completed first", field="subscription_id", reason="partly_paid"
        )
    withdraw(draft, by=request.by, within_only=True)
    if known is not None:
        draft.record("resume", by=request.by)
    period, paid_to = _moved(draft, since)
    draft.record("pause", by=request.by, at=since, period=period, paid_to=paid_to, reason=request.reason)
    for order in draft.all_orders:
        if order.status in OPEN_ORDERS and order.closed_as is None and order.period is not None:
            changed = draft.put(order, **REPLACING)
            draft.journal.publish(EventType.ORDER_SUPERSEDED, order_facts(changed))
    draft.audit("subscription.pause", request.by, since=since.isoformat(), reason=request.reason)


def resume(draft: SubscriptionDraft, by: str) -> None:
    """Let a paused subscription go on: what was left of the paid time begins now. Nothing when it was not paused.

    Raises:
        IllegalTransition: it is over.

    """
    draft.fold()
    known = open_pause(draft.changes)
    if draft.held.status in OVER_SUBSCRIPTIONS:
        raise IllegalTransition("this subscription is over", field="subscription_id", before=str(draft.held.status))
    if known is None:
        return
    period = paid_to = None
    if known.since <= draft.now:
        period, paid_to = _moved(draft, known.since)
        if period is None and known.period is not None:
            # The chain has taken the first payment back for now: what was known when the pause was made still holds.
            period, paid_to = known.period, max(first_free(draft, at_least=known.period), known.paid_to or 0)
    draft.record("resume", by=by, period=period, paid_to=paid_to)
    draft.audit("subscription.resume", by, since=_iso(known.since))


def _moved(draft: SubscriptionDraft, since: datetime) -> tuple[int | None, int | None]:
    """Return the first period that begins later because of a pause, and the first after that which is not paid.

    It is the first that has not begun when the pause does. None while the subscription has no calendar.
    """
    table = draft.held.table
    if table is None:
        return None, None
    period = table.first_from(since)
    return period, first_free(draft, at_least=period)


def _iso(instant: datetime) -> str:
    return instant.isoformat()
