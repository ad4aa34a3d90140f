"""The calendar of a subscription, folded: where it is anchored, and everything that changed it since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from evmbilling.domain.pausing_times import Pause, pauses_of
from evmbilling.domain.periods import PeriodTable, Segment, plain_table, zones_that_hold
from evmbilling.domain.plan_terms import Adoption
from evmbilling.domain.subscriptions import Subscription, SubscriptionChange
from evmbilling.domain.terms import TermsBook

_Edit = tuple[int, int, Callable[[PeriodTable], PeriodTable]]


def adoption_of(changes: Sequence[SubscriptionChange]) -> Adoption | None:
    """Return how a subscriber was imported; None for one who began here."""
    return next((c.adoption for c in changes if c.adoption is not None), None)


def calendar_of(
    subscription: Subscription,
    firsts: Mapping[int, datetime],
    changes: Sequence[SubscriptionChange],
    book: TermsBook,
) -> tuple[datetime | None, tuple[Segment, ...]]:
    """Return the anchor of a subscription, and what zones, intervals and pauses made of its calendar since.

    A trial's end is the anchor whenever the first payment comes. Else it is that payment's moment, bounded by what we
    saw, and never before the start. Who was imported has the calendar that was paid for elsewhere.
    """
    adopted = adoption_of(changes)
    anchor = _anchor(subscription, firsts)
    if adopted is not None:
        begun = Segment(
            first=0,
            anchor=adopted.anchor,
            interval=book.base.interval,
            zone=subscription.zone,
            offset=adopted.offset,
        )
        table = PeriodTable((begun,))
        anchor = table.start(0)
    elif anchor is not None:
        table = plain_table(anchor, book.base.interval, subscription.zone)
    else:
        return None, ()
    plain = table.segments[0]
    for _, _, edit in sorted(_edits(changes, book, firsts), key=lambda found: found[:2]):
        table = edit(table)
    # What a stored subscription needs to be told: all of it, unless the first stretch is what its facts say.
    other = any(segment.interval != plain.interval for segment in table.segments)
    told = adopted is not None or other or table.segments[0] != plain
    return anchor, table.segments if told else table.segments[1:]


def _anchor(subscription: Subscription, firsts: Mapping[int, datetime]) -> datetime | None:
    first = firsts.get(0)
    if subscription.trial_end is not None or first is None:
        return subscription.trial_end
    return max(t for t in (first, subscription.start_at) if t is not None)


def _edits(changes: Sequence[SubscriptionChange], book: TermsBook, firsts: Mapping[int, datetime]) -> list[_Edit]:
    """Return what changes the calendar: (period, number of the change, the change)."""
    ordered = sorted((c for c in changes if c.kind == "zone" and c.period is not None), key=lambda c: c.seq)
    numbers = {c.period: c.seq for c in ordered}
    zones = zones_that_hold((c.period or 0, c.zone or "") for c in ordered)
    edits: list[_Edit] = [
        (period, numbers[period], partial(PeriodTable.with_zone, zone=zone, period=period))
        for period, zone in zones.items()
    ]
    edits += [
        (period, seq, partial(PeriodTable.with_interval, interval=interval, period=period))
        for period, seq, interval in book.intervals
    ]
    adopted = adoption_of(changes)
    given = adopted.periods if adopted is not None else 0
    for pause in pauses_of(changes):
        if pause.period is not None and pause.length:
            paid_to = _paid_to(pause, firsts, given)
            delay = partial(PeriodTable.with_delay, by=pause.length, period=pause.period, paid_to=paid_to)
            edits.append((pause.period, pause.seq, delay))
    return edits


def _paid_to(pause: Pause, firsts: Mapping[int, datetime], given: int) -> int:
    """Return the first of the delayed periods that had not been paid when a pause was over.

    Args:
        pause: that was resumed.
        firsts: when each period was paid. given: how many were paid elsewhere.

    """
    index = pause.period or 0
    while index < given or (index in firsts and pause.until is not None and firsts[index] <= pause.until):
        index += 1
    return index
