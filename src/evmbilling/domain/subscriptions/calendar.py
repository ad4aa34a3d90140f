"""Periods: closed form from the anchor, on the customer's calendar, half-open.

``boundary(n) = clamp(anchor + n·k)`` in the subscription's zone; a wall time inside a DST gap moves forward by the
gap, a wall time that happens twice takes the first. Computing every boundary from the original anchor keeps
31 January on 28/29 February, 31 March, 30 April.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen

from evmbilling.errors import InputError

IntervalUnit = Literal["none", "day", "week", "month", "year"]
_MAX_COUNT = 1000
# Files beside the zones that mean something else on every machine, or count leap seconds.
_LOCAL_NAMES = ("localtime", "posixrules", "posix/", "right/", "Factory")


@frozen
class Interval:
    """How often a plan is charged; ``none`` sells a thing once."""

    unit: IntervalUnit
    count: int = 1

    @property
    def recurs(self) -> bool:
        """Whether there is a next period at all."""
        return self.unit != "none"

    def __str__(self) -> str:
        return self.unit if self.count == 1 else f"{self.count} {self.unit}s"


@frozen
class Period:
    """One paid stretch of time, ``[start, end)``, in UTC; ``index`` counts from 0 at the anchor."""

    index: int
    start: datetime
    end: datetime


def make_interval(unit: object, count: object = 1) -> Interval:
    """Build an interval from untrusted values.

    Raises:
        InputError: an unknown unit or a count outside 1 to 1000.

    """
    if unit not in ("none", "day", "week", "month", "year"):
        raise InputError("an interval is none, day, week, month or year", field="interval")
    if type(count) is not int or not 1 <= count <= _MAX_COUNT:
        raise InputError(f"an interval count is from 1 to {_MAX_COUNT}", field="interval_count")
    return Interval(unit, count)


def parse_zone(value: object, *, field: str) -> str:
    """Read an IANA zone name.

    Raises:
        InputError: there is no such zone.

    """
    try:
        ZoneInfo(value)  # type: ignore[arg-type]  # anything else than a name is a TypeError
        known = not str(value).startswith(_LOCAL_NAMES)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError):
        known = False
    if not known:
        raise InputError("an IANA time zone name is expected, for example Europe/Berlin", field=field)
    return str(value)


def parse_instant(value: object, *, field: str) -> datetime:
    """Read an instant: a datetime that knows its offset, returned in UTC.

    Raises:
        InputError: not a datetime, a naive one, or one that is outside the calendar in UTC.

    """
    if not isinstance(value, datetime) or value.tzinfo is None or value.utcoffset() is None:
        raise InputError("an instant is a datetime with a time zone", field=field)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InputError("the date is beyond the calendar", field=field) from None


def resolve_wall_time(wall: datetime, zone: str) -> datetime:
    """Return the UTC instant of a naive wall time: gaps move forward, folds take the first."""
    local = wall.replace(tzinfo=ZoneInfo(zone), fold=0)
    return local.astimezone(UTC)


def add_to_wall(wall: datetime, interval: Interval, steps: int) -> datetime:
    """Move a naive wall time by whole intervals, clamping the day of month."""
    amount = interval.count * steps
    try:
        if interval.unit == "day":
            return wall + timedelta(days=amount)
        if interval.unit == "week":
            return wall + timedelta(weeks=amount)
        months = wall.year * 12 + wall.month - 1 + amount * (12 if interval.unit == "year" else 1)
        year, month = divmod(months, 12)
        day = min(wall.day, calendar.monthrange(year, month + 1)[1])
        return wall.replace(year=year, month=month + 1, day=day)
    except (OverflowError, ValueError):
        raise InputError("the date is beyond the calendar", field="interval") from None


@lru_cache(maxsize=4096)
def boundary(anchor: datetime, interval: Interval, zone: str, index: int) -> datetime:
    """Return the instant at which period ``index`` begins."""
    if index == 0:
        return anchor
    wall = anchor.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)
    return resolve_wall_time(add_to_wall(wall, interval, index), zone)


def period(anchor: datetime, interval: Interval, zone: str, index: int) -> Period:
    """Return period ``index`` of a subscription that is anchored at ``anchor``.

    Raises:
        InputError: the interval is ``none`` or the dates leave the calendar.

    """
    if not interval.recurs:
        raise InputError("a plan without an interval has no periods", field="interval")
    return Period(index, boundary(anchor, interval, zone, index), boundary(anchor, interval, zone, index + 1))


def add_days(instant: datetime, days: int, zone: str) -> datetime:
    """Move an instant by calendar days in a zone: the same wall time on a later day."""
    return boundary(instant, Interval("day"), zone, days) if days else instant


def wall_days(first: datetime, second: datetime, zone: str) -> int:
    """Return how many calendar days in a zone the second instant is after the first; negative when it is before."""
    days = second.astimezone(ZoneInfo(zone)).date() - first.astimezone(ZoneInfo(zone)).date()
    return days.days
