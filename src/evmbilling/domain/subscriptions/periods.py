"""The period table of a subscription: segments of the calendar, each in closed form from its own anchor.

A subscription has one segment for all its life, unless something changes its calendar. Such a change begins at a
boundary: periods before it keep the boundaries that they have, periods from it on follow the new segment. Every
boundary is computed from an anchor and never from the boundary before it, so that nothing drifts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from attrs import frozen

from evmbilling.domain.subscriptions.calendar import Interval, Period, boundary, resolve_wall_time
from evmbilling.errors import InputError

_MONTHS = {"month": 1, "year": 12}
_DAYS = {"day": 1, "week": 7}


@frozen(kw_only=True)
class Segment:
    """A stretch of periods that follow one anchor.

    Attributes:
        first: index of the first period that it holds.
        anchor: the instant from which its boundaries are counted.
        zone: IANA zone in which they are counted.
        offset: how many intervals after the anchor the first period begins.
        stub: it holds one period only, longer or shorter than others, and the next segment says where that ends.

    """

    first: int
    anchor: datetime
    interval: Interval
    zone: str
    offset: int = 0
    stub: bool = False

    def start(self, index: int) -> datetime:
        """Return where a period would begin by this segment, whether it holds it or not."""
        return boundary(self.anchor, self.interval, self.zone, index - self.first + self.offset)

    def guess(self, instant: datetime) -> int:
        """Return the index of the period that holds an instant by this segment, or one beside it."""
        zone = ZoneInfo(self.zone)
        then, now = self.anchor.astimezone(zone), instant.astimezone(zone)
        unit, count = self.interval.unit, self.interval.count
        if unit in _MONTHS:
            steps = ((now.year - then.year) * 12 + now.month - then.month) // (count * _MONTHS[unit])
        else:
            steps = (now.date() - then.date()).days // (count * _DAYS[unit])
        return steps - self.offset + self.first


@frozen
class PeriodTable:
    """Where the periods of a subscription begin and end: ``[start, end)``, index from 0, without gap or overlap."""

    segments: tuple[Segment, ...]

    def start(self, index: int) -> datetime:
        """Return the instant at which a period begins.

        Raises:
            InputError: the date leaves the calendar.

        """
        return self.segment(index).start(index)

    def end(self, index: int) -> datetime:
        """Return the instant at which a period ends: where the next one begins."""
        return self.start(index + 1)

    def period(self, index: int) -> Period:
        """Return a period."""
        return Period(index, self.start(index), self.end(index))

    def segment(self, index: int) -> Segment:
        """Return the segment that holds a period."""
        return next((s for s in reversed(self.segments) if s.first <= index), self.segments[0])

    def zone(self, index: int) -> str:
        """Return the zone of a period's calendar."""
        return self.segment(index).zone

    def index_at(self, instant: datetime) -> int:
        """Return the index of the period that holds an instant; -1 before the first."""
        if instant < self.start(0):
            return -1
        place = max(i for i, s in enumerate(self.segments) if s.start(s.first) <= instant or i == 0)
        segment = self.segments[place]
        last = self.segments[place + 1].first - 1 if place + 1 < len(self.segments) else None
        index = max(segment.guess(instant), segment.first)
        while index > segment.first and segment.start(index) > instant:
            index -= 1
        while (last is None or index < last) and segment.start(index + 1) <= instant:
            index += 1
        return index if last is None else min(index, last)

    def first_from(self, instant: datetime) -> int:
        """Return the index of the first period that begins at an instant or after it."""
        index = self.index_at(instant)
        return index if index >= 0 and self.start(index) == instant else index + 1

    def share(self, index: int, *, paused: int = 0) -> tuple[int, int]:
        """Return the seconds of a period, and of a full one in its place; they differ for a stub only.

        Args:
            index: of the period.
            paused: how many of its seconds were paused, which are no part of what is paid.

        """
        length = _seconds(self.end(index) - self.start(index)) - paused
        own, follower = self.segment(index), self.segment(index + 1)
        if not own.stub:
            return length, length
        if follower.interval != own.interval:
            # Another interval begins behind it; the price of a stub is a share of what its own interval costs.
            follower = Segment(first=index + 1, anchor=self.end(index), interval=own.interval, zone=own.zone)
        return length, _seconds(follower.start(index + 1) - follower.start(index))

    def with_zone(self, zone: str, period: int) -> PeriodTable:
        """Return the table with another zone from a period on.

        The wall time of the anchor is kept: 1 August 00:00 in Berlin is followed by 1 September 00:00 in New York. The
        period between the two calendars is a stub: longer or shorter than others by the difference of the zones, and
        never less than half of one.
        """
        begins = self.start(period)
        old = self.segment(period)
        if old.zone == zone:
            return self
        kept = tuple(s for s in self.segments if s.first < period)
        step = period - old.first + old.offset
        if period == 0:
            return PeriodTable((Segment(first=0, anchor=begins, interval=old.interval, zone=zone),))
        wall = old.anchor.astimezone(ZoneInfo(old.zone)).replace(tzinfo=None, fold=0)
        new = Segment(first=period, anchor=resolve_wall_time(wall, zone), interval=old.interval, zone=zone, offset=step)
        if new.start(period) == begins:
            return PeriodTable((*kept, new))
        ends = period
        while 2 * (new.start(ends) - begins) < new.start(ends) - new.start(ends - 1):
            ends += 1
        stub = Segment(first=period, anchor=begins, interval=old.interval, zone=zone, stub=True)
        after = Segment(
            first=period + 1,
            anchor=new.anchor,
            interval=old.interval,
            zone=zone,
            offset=step + ends - period,
        )
        return PeriodTable((*kept, stub, after))

    def with_interval(self, interval: Interval, period: int) -> PeriodTable:
        """Return the table with another interval from a period on, counted from where that period begins."""
        old = self.segment(period)
        if old.interval == interval:
            return self
        kept = tuple(s for s in self.segments if s.first < period)
        begun = Segment(first=period, anchor=self.start(period), interval=interval, zone=old.zone)
        return PeriodTable((*kept, begun))

    def with_delay(self, by: timedelta, period: int, *, paid_to: int | None = None) -> PeriodTable:
        """Return the table with a period, and all after it, beginning later by as long as a pause was.

        The period before it is longer by that. Those that are paid keep their length to the second, their zone and
        their interval, so that the paid time ends later by just as much; what follows is counted from there as the last
        of them was. What changes the calendar from there on has to be put in again.

        Args:
            by: how long the pause was.
            period: the first one that begins later.
            paid_to: the first one after it that was not paid when the pause was over; none was paid when left out.

        """
        made = [s for s in self.segments if s.first < period]
        last = max(period, paid_to or 0)
        for index in range(period, last + 1):
            like, begins = self.segment(min(index, max(last - 1, 0))), self.start(index) + by
            stub = like.stub and index < last
            pinned = Segment(first=index, anchor=begins, interval=like.interval, zone=like.zone, stub=stub)
            if index == period or not _goes_on(made[-1], pinned):
                made.append(pinned)
        return PeriodTable(tuple(made))


def _goes_on(segment: Segment, following: Segment) -> bool:
    """Whether a stretch holds the first period of the one that is to follow it, as that would."""
    same = (segment.interval, segment.zone, segment.stub) == (following.interval, following.zone, following.stub)
    return same and not segment.stub and segment.start(following.first) == following.anchor


def table_of(
    anchor: datetime | None, interval: Interval, zone: str, segments: tuple[Segment, ...]
) -> PeriodTable | None:
    """Return the table of a subscription from its facts and the later segments of its calendar; None without anchor."""
    if anchor is None:
        return None
    if segments and segments[0].first == 0:
        return PeriodTable(segments)
    plain = plain_table(anchor, interval, zone)
    return PeriodTable((*plain.segments, *segments)) if segments else plain


def plain_table(anchor: datetime, interval: Interval, zone: str) -> PeriodTable:
    """Return the table of a subscription whose calendar never changed.

    Raises:
        InputError: the interval is ``none``.

    """
    if not interval.recurs:
        raise InputError("a plan without an interval has no periods", field="interval")
    return PeriodTable((Segment(first=0, anchor=anchor, interval=interval, zone=zone),))


def zones_that_hold(zones: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Return the changes of zone that hold: (first period, zone), given in the order in which they were decided.

    A later change takes the place of those that were to begin with the same period or after it.
    """
    holding: dict[int, str] = {}
    for period, zone in zones:
        holding = {begun: kept for begun, kept in holding.items() if begun < period} | {period: zone}
    return holding


def _seconds(length: timedelta) -> int:
    return length.days * 86_400 + length.seconds
