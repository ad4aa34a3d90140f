"""The rows of a report: days, weeks and months as they begin in a zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from attrs import frozen

from evmbilling.domain.subscriptions.calendar import add_to_wall, make_interval, resolve_wall_time
from evmbilling.errors import InputError

Step = Literal["day", "week", "month"]
STEPS: tuple[Step, ...] = ("day", "week", "month")
MOST_SPANS = 400
DEFAULT_SPANS: Mapping[str, int] = {"day": 30, "week": 13, "month": 12}


EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""What a report can be about: beyond it the calendar ends while its rows are counted."""


@frozen(kw_only=True)
class Span:
    """A stretch of time ``[start, end)`` in UTC; ``label`` is the day on which it begins in the report's zone."""

    start: datetime
    end: datetime
    label: str


def spans_of(since: datetime, until: datetime, zone: str, by: Step) -> tuple[Span, ...]:
    """Return the days, weeks (from Monday) or months in a zone that overlap ``[since, until)``, whole ones.

    Raises:
        InputError: they are more than 400, or none; or beyond the years that reports are about.

    """
    for name, at in (("since", since), ("until", until)):
        check_reported(at, field=name)
    if since >= until:
        raise InputError("a report ends after it begins", field="until")
    interval = make_interval(by)
    first = first_wall(since, zone, by)
    found: list[Span] = []
    for n in range(MOST_SPANS + 1):
        wall = add_to_wall(first, interval, n)
        start, end = resolve_wall_time(wall, zone), resolve_wall_time(add_to_wall(first, interval, n + 1), zone)
        if start >= until:
            return tuple(found)
        found.append(Span(start=start, end=end, label=wall.date().isoformat()))
    raise InputError(f"a report has {MOST_SPANS} rows at most", field="since")


def check_reported(at: datetime, *, field: str) -> datetime:
    """Return an instant that a report can be about.

    Raises:
        InputError: it is not of the years from 1970 to 8999.

    """
    if not EARLIEST <= at < LATEST:
        raise InputError("a report is about the years from 1970 to 8999", field=field)
    return at


def first_wall(at: datetime, zone: str, by: Step) -> datetime:
    """Return the wall time at which the day, week or month begins that an instant falls into."""
    wall = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0, fold=0)
    if by == "week":
        return wall - timedelta(days=wall.weekday())
    return wall.replace(day=1) if by == "month" else wall


def default_since(until: datetime, zone: str, by: Step) -> datetime:
    """Return where a report begins that does not say: some days, weeks or months ending with the present one."""
    last = first_wall(until - timedelta(microseconds=1), zone, by)
    return resolve_wall_time(add_to_wall(last, make_interval(by), 1 - DEFAULT_SPANS[by]), zone)
