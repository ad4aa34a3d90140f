"""Whether a subscription can be changed as it stands; why not is a stable reason."""

from __future__ import annotations

from datetime import timedelta

from evmbilling.domain.states import (
    IN_FLIGHT_ORDERS,
    OVER_SUBSCRIPTIONS,
    OWING_SUBSCRIPTIONS,
    OrderStatus,
    SubscriptionStatus,
)
from evmbilling.domain.subscriptions.change_records import ChangeRequest, ChangeSale
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.looking import is_in_flight
from evmbilling.domain.subscriptions.periods import PeriodTable
from evmbilling.domain.subscriptions.terms import paid_terms
from evmbilling.errors import Conflict, IllegalTransition, InputError

MOST_A_DAY = 31
"""Changes of one subscription on one day (UTC)."""


SHORTEST = timedelta(minutes=1)
"""What has to be left of a period so that something can still be paid for it."""


def first_free(draft: SubscriptionDraft, *, at_least: int = 0) -> int:
    """Return the first period, from one on, that is not paid and whose payment is not on its way."""
    period = max(draft.held.paid_periods, at_least)
    while period in draft.paid or is_in_flight(draft.all_orders, period):
        period += 1
    return period


def check_changeable(draft: SubscriptionDraft, request: ChangeRequest, sale: ChangeSale) -> None:
    """Refuse what cannot be changed as it stands.

    Raises:
        IllegalTransition, Conflict, InputError: as :func:`preview_change`.

    """
    draft.fold()
    check_running(draft, "changed")
    refuse_in_flight(draft)
    held = draft.held
    how = (request.network, request.asset, request.wallet)
    # What was agreed for periods to come may be other than what holds, when one was paid on older terms.
    agreed = draft.book.agreed(first_free(draft), held.table) if request.timing == "next_period" else held.terms
    if sale.after == held.terms == agreed and how == (None, None, None):
        raise InputError("nothing would change", field="plan")
    if request.timing == "next_period":
        first = first_free(draft)
        if any(o.status is OrderStatus.PARTIALLY_PAID and (o.period or 0) >= first for o in draft.all_orders):
            raise refused("the next period is paid in part; it has to be completed first", "partly_paid")
        return
    if request.network is not None or request.asset is not None:
        named = "network" if request.network is not None else "asset"
        raise InputError("another token or network begins with a period", field=named)
    if sale.after == held.terms:
        raise InputError("nothing would change within the period", field="plan")
    if sale.after.interval != held.terms.interval:
        raise InputError("another interval begins with a period", field="timing")
    table = table_of_running(draft)
    index = table.index_at(draft.now)
    if index < 0:
        raise refused("its first period has not begun: change it for the next period", "not_begun")
    if table.end(index) - draft.now < SHORTEST:
        raise refused("the period is about to end: change it for the next period", "period_ends")
    bought = paid_terms(draft.book.base, draft.changes, draft.payers)
    if any(paid.period > index and not paid.agrees(sale.after) for paid in bought):
        # The difference would buy the rest of the running period only: what is paid ahead keeps its own terms.
        raise Conflict(
            "periods are paid ahead on other terms: use timing next_period, or wait until the last of them has begun",
            field="timing",
            reason="paid_ahead",
        )


def check_running(draft: SubscriptionDraft, done: str) -> None:
    """Refuse a subscription that is over, was never paid, is paused, owes something, or is about to end.

    Raises:
        IllegalTransition: it is over.
        Conflict: any of the others; ``reason`` is ``unpaid``, ``paused``, ``debt`` or ``leaving``.

    """
    held, table = draft.held, draft.held.table
    if held.status in OVER_SUBSCRIPTIONS:
        raise IllegalTransition("this subscription is over", field="subscription_id", before=str(held.status))
    if held.status is SubscriptionStatus.PAUSED:
        raise refused(f"a paused subscription is not {done}: resume it first", "paused")
    if held.status is SubscriptionStatus.INCOMPLETE or table is None:
        raise refused("it was never paid: choose another by a checkout", "unpaid")
    if held.status in OWING_SUBSCRIPTIONS or table.index_at(draft.now) >= held.paid_periods:
        raise refused(f"what is owed has to be paid before it is {done}", "debt")
    if held.cancel_at_period_end:
        raise refused("it is to end: take that back first", "leaving")


def refused(text: str, reason: str) -> Conflict:
    """Return the conflict that says why not."""
    return Conflict(text, field="subscription_id", reason=reason)


def refuse_in_flight(draft: SubscriptionDraft) -> None:
    """Refuse while the payment of a change is being confirmed."""
    if any(o.origin == "change" and o.period is None and o.status in IN_FLIGHT_ORDERS for o in draft.all_orders):
        raise refused("the payment of a change is being confirmed; try again afterwards", "in_flight")


def refuse_too_many(draft: SubscriptionDraft) -> None:
    """Refuse more changes a day than anybody makes up their mind."""
    today = sum(c.terms is not None and c.recorded_at.date() == draft.now.date() for c in draft.changes)
    if today >= MOST_A_DAY:
        raise refused("it was changed too often today; try again tomorrow", "too_many_today")


def table_of_running(draft: SubscriptionDraft) -> PeriodTable:
    """Return the periods of a subscription that runs."""
    table = draft.held.table
    if table is None:
        raise refused("it was never paid: choose another by a checkout", "unpaid")
    return table
