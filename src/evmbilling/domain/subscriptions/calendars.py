"""The calendar of a subscription, folded: where it is anchored, and everything that changed it since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from evmbilling.domain.catalogue.plan_terms import Adoption
from evmbilling.domain.subscriptions.pausing_times import pauses_of
from evmbilling.domain.subscriptions.periods import PeriodTable, Segment, plain_table, zones_that_hold
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.domain.subscriptions.terms import TermsBook

_Step = tuple[int, Callable[[PeriodTable], PeriodTable]]


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
    table = _changed(table, changes, book)
    # What a stored subscription needs to be told: all of it, unless the first stretch is what its facts say.
    other = any(segment.interval != plain.interval for segment in table.segments)
    told = adopted is not None or other or table.segments[0] != plain
    return anchor, table.segments if told else table.segments[1:]


def _anchor(subscription: Subscription, firsts: Mapping[int, datetime]) -> datetime | None:
    first = firsts.get(0)
    if subscription.trial_end is not None or first is None:
        return subscription.trial_end
    return max(t for t in (first, subscription.start_at) if t is not None)


def _changed(table: PeriodTable, changes: Sequence[SubscriptionChange], book: TermsBook) -> PeriodTable:
    """Return a calendar with its zones and intervals, and then with its pauses in the order in which they were made.

    A pause moves what was paid as it is, whatever zones and intervals it has; those that begin behind that are counted
    from where they begin now. So a pause moves the end of what was paid by its own length, and neither when a payment
    becomes known nor in which order changes are read matters. What lies before the calendar begins moves nothing: the
    payment that began it before may never have come back.
    """
    steps = _steps(changes, book)
    for _, step in steps:
        table = step(table)
    for pause in pauses_of(changes):
        by = pause.length - max(table.start(0) - pause.since, timedelta())
        if by <= timedelta():
            continue
        period = table.first_from(pause.since) if pause.period is None else pause.period
        paid_to = max(period, pause.paid_to or 0)
        table = table.with_delay(by, period, paid_to=paid_to)
        for begins, step in steps:
            if begins >= paid_to:
                table = step(table)
    return table


def _steps(changes: Sequence[SubscriptionChange], book: TermsBook) -> list[_Step]:
    """Return the zones and intervals that begin with a period, in the order of these."""
    ordered = sorted((c for c in changes if c.kind == "zone" and c.period is not None), key=lambda c: c.seq)
    numbers = {c.period: c.seq for c in ordered}
    zones = zones_that_hold((c.period or 0, c.zone or "") for c in ordered)
    steps: list[tuple[int, int, Callable[[PeriodTable], PeriodTable]]] = [
        (period, numbers[period], partial(PeriodTable.with_zone, zone=zone, period=period))
        for period, zone in zones.items()
    ]
    steps += [
        (period, seq, partial(PeriodTable.with_interval, interval=interval, period=period))
        for period, seq, interval in book.intervals
    ]
    return [(period, step) for period, _, step in sorted(steps, key=lambda found: found[:2])]
