"""How far the calendar of a subscription is paid."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from attrs import frozen

from evmbilling.domain.refunds.shortening import shortened
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.calendars import adoption_of, calendar_of
from evmbilling.domain.subscriptions.periods import PeriodTable, Segment, table_of
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.domain.subscriptions.terms import TermsBook


@frozen(kw_only=True)
class PaidCalendar:
    """A calendar, and what is settled of it.

    Attributes:
        anchor, segments: as the subscription keeps them.
        table: made of them; None while nothing has begun.
        settled: so many periods from the first on were paid, here or elsewhere, or forgiven.
        paid_until: the end of the last of them that was paid, unless it was given back.

    """

    anchor: datetime | None
    segments: tuple[Segment, ...]
    table: PeriodTable | None
    settled: int = 0
    paid_until: datetime | None = None


def paid_calendar(
    subscription: Subscription,
    orders: Sequence[Order],
    changes: Sequence[SubscriptionChange],
    firsts: Mapping[int, datetime],
    book: TermsBook,
) -> PaidCalendar:
    """Fold a subscription's facts into its calendar; ``firsts`` says when its periods were paid."""
    anchor, segments = calendar_of(subscription, firsts, changes, book)
    table = table_of(anchor, book.base.interval, subscription.zone, segments)
    if table is None:
        return PaidCalendar(anchor=anchor, segments=segments, table=None)
    adopted = adoption_of(changes)
    paid = firsts.keys() | (set(range(adopted.periods)) if adopted is not None else set())
    settled = _contiguous(paid | {o.period for o in orders if o.claim == "forgiven" and o.period is not None})
    last = max((n for n in paid if n < settled), default=None)
    paid_until = table.end(last) if last is not None else None
    short = shortened(changes)
    if paid_until is not None and short is not None:
        # What was given back is not paid; what comes for later periods is credit.
        paid_until = min(paid_until, table.start(short.period or 0))
    return PaidCalendar(anchor=anchor, segments=segments, table=table, settled=settled, paid_until=paid_until)


def _contiguous(periods: Collection[int]) -> int:
    count = 0
    while count in periods:
        count += 1
    return count
