"""Periods on the customer's calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zones import ZONES

from evmbilling.domain.subscriptions.calendar import (
    Interval,
    add_days,
    boundary,
    make_interval,
    parse_instant,
    parse_zone,
    period,
    resolve_wall_time,
)
from evmbilling.errors import InputError

MONTH, YEAR, WEEK, DAY = Interval("month"), Interval("year"), Interval("week"), Interval("day")
zones = st.sampled_from(ZONES)
intervals = st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 13))
anchors = st.datetimes(datetime(2020, 1, 1), datetime(2060, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  - bounds
indexes = st.integers(0, 400)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def wall(instant, zone):
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def days_billed(anchor, interval, zone, count):
    return [f"{wall(boundary(anchor, interval, zone, n), zone):%m-%d}" for n in range(count)]


@pytest.mark.fault("Z04")
def test_z04_the_31st_is_never_lost():
    billed = days_billed(utc("2026-01-31T12:00"), MONTH, "UTC", 13)
    expected = "01-31 02-28 03-31 04-30 05-31 06-30 07-31 08-31 09-30 10-31 11-30 12-31 01-31"
    assert billed == expected.split()


@pytest.mark.fault("Z04")
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Pacific/Kiritimati"])
@given(anchor=anchors)
def test_z04_fifty_years_of_months_stay_on_the_anchors_day(zone, anchor):
    day = wall(anchor, zone).day
    for n in range(0, 600, 7):
        local = wall(boundary(anchor, MONTH, zone, n), zone)
        end_of_month = (local + timedelta(days=1)).day == 1
        assert local.day == day or (local.day < day and end_of_month)


@pytest.mark.fault("Z05")
def test_z05_29_february_returns_in_leap_years():
    billed = days_billed(utc("2024-02-29T08:00"), YEAR, "UTC", 9)
    assert billed == ["02-29", "02-28", "02-28", "02-28", "02-29", "02-28", "02-28", "02-28", "02-29"]
    assert set(days_billed(utc("2023-02-28T08:00"), YEAR, "UTC", 9)) == {"02-28"}


# Wall times that do not exist move forward by the gap; those that exist twice take the first.
TRANSITIONS = [
    ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:30"),
    ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30"),
    ("America/New_York", "2026-03-08T02:00", "2026-03-08T07:00"),
    ("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30"),
    ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:45"),
    ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45"),
    ("America/Havana", "2026-03-08T00:30", "2026-03-08T05:30"),
    ("Africa/Cairo", "2026-04-24T00:30", "2026-04-23T22:30"),
]


@pytest.mark.fault("Z06")
@pytest.mark.parametrize(("zone", "local", "instant"), TRANSITIONS)
def test_z06_gaps_move_forward_and_folds_take_the_first(zone, local, instant):
    assert resolve_wall_time(datetime.fromisoformat(local), zone) == utc(instant)


@pytest.mark.fault("Z06")
@pytest.mark.parametrize("zone", ZONES)
@given(instant=anchors)
def test_z06_a_wall_time_comes_back_as_itself_or_after_the_gap(zone, instant):
    local = wall(instant, zone)
    resolved = resolve_wall_time(local, zone)
    back = wall(resolved, zone)
    assert resolved <= instant
    assert back == local


@pytest.mark.fault("Z07")
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_z07_daylight_saving_does_not_move_the_billing_hour(zone):
    anchor = utc("2026-01-15T12:00")
    starts = [boundary(anchor, MONTH, zone, n) for n in range(13)]
    assert {wall(start, zone).time() for start in starts} == {wall(anchor, zone).time()}
    assert len({start.time() for start in starts}) == 2


@given(anchor=anchors, interval=intervals, zone=zones, index=indexes)
def test_periods_tile_the_time_without_gap_or_overlap(anchor, interval, zone, index):
    this, following = (period(anchor, interval, zone, n) for n in (index, index + 1))
    assert this.end == following.start
    assert this.start < this.end < following.end
    assert period(anchor, interval, zone, 0).start == anchor
    assert (this.index, this.start.tzinfo) == (index, UTC)


@given(anchor=anchors, interval=intervals, zone=zones, index=st.integers(1, 400))
def test_a_boundary_is_the_anchors_wall_time_moved_whole_intervals(anchor, interval, zone, index):
    local, start = wall(anchor, zone), wall(boundary(anchor, interval, zone, index), zone)
    if interval.unit in ("day", "week"):
        days = index * interval.count * (7 if interval.unit == "week" else 1)
        assert abs((start - local).total_seconds() - days * 86_400) <= 3600
    else:
        months = index * interval.count * (12 if interval.unit == "year" else 1)
        assert (start.year * 12 + start.month) - (local.year * 12 + local.month) == months


def test_a_day_that_a_zone_left_out_gives_an_empty_period_not_a_negative_one():
    # Samoa went from 29 to 31 December 2011.
    anchor = resolve_wall_time(datetime(2011, 12, 28, 10), "Pacific/Apia")  # noqa: DTZ001  - a wall time
    starts = [boundary(anchor, DAY, "Pacific/Apia", n) for n in range(5)]
    assert starts == sorted(starts)
    assert starts[2] == starts[3]


@pytest.mark.parametrize(
    ("days", "zone", "start", "end"),
    [
        (1, "Europe/Berlin", "2026-03-28T11:00", "2026-03-29T10:00"),
        (1, "Europe/Berlin", "2026-10-24T10:00", "2026-10-25T11:00"),
        (14, "UTC", "2026-02-20T00:00", "2026-03-06T00:00"),
        (0, "Europe/Berlin", "2026-03-28T11:00", "2026-03-28T11:00"),
    ],
)
def test_trial_days_are_calendar_days(days, zone, start, end):
    assert add_days(utc(start), days, zone) == utc(end)


def test_a_thing_sold_once_has_no_periods():
    once = make_interval("none")
    assert not once.recurs
    with pytest.raises(InputError):
        period(utc("2026-01-01T00:00"), once, "UTC", 0)


@pytest.mark.fault("Z10")
@pytest.mark.parametrize("interval", [YEAR, Interval("month", 1000), Interval("day", 1000)])
def test_z10_dates_beyond_the_calendar_are_a_typed_error(interval):
    with pytest.raises(InputError) as caught:
        boundary(utc("2026-01-01T00:00"), interval, "UTC", 10**9)
    assert caught.value.field == "interval"
    assert boundary(utc("2026-01-19T03:14"), YEAR, "UTC", 100).year == 2126


@pytest.mark.fault("Z10")
@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("interval", [DAY, WEEK, MONTH, YEAR])
def test_z10_the_last_day_of_the_calendar_is_a_typed_error_in_every_zone(zone, interval):
    anchor = utc("9998-12-31T23:59")
    for index in range(1, 800):
        try:
            assert boundary(anchor, interval, zone, index) > anchor
        except InputError as error:
            assert error.field == "interval"  # noqa: PT017  - where exactly depends on the zone
            return
    pytest.fail("the calendar did not end")


@pytest.mark.parametrize(("unit", "count"), [("month", 1), ("week", 1000), ("none", 1)])
def test_intervals_are_read(unit, count):
    assert make_interval(unit, count) == Interval(unit, count)


BAD_INTERVALS = [
    *(("hour", 1), ("Month", 1), (None, 1), ([], 1)),
    *(("month", 0), ("month", 1001), ("month", 1.0), ("month", True), ("month", "1")),
]


@pytest.mark.parametrize(("unit", "count"), BAD_INTERVALS)
def test_what_is_no_interval_is_refused(unit, count):
    with pytest.raises(InputError) as caught:
        make_interval(unit, count)
    assert caught.value.field in ("interval", "interval_count")


def test_intervals_are_written_for_people():
    assert (str(MONTH), str(Interval("month", 3)), str(make_interval("none"))) == ("month", "3 months", "none")


@pytest.mark.parametrize("zone", ZONES)
def test_zones_are_kept(zone):
    assert parse_zone(zone, field="zone") == zone


BAD_ZONES = [
    *("", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "Europe", "zone.tab", "UTC\0", "x" * 300, "+02:00"),
    *(None, 3, b"UTC", []),
]


@pytest.mark.parametrize("zone", BAD_ZONES)
def test_what_is_no_zone_is_refused(zone):
    with pytest.raises(InputError) as caught:
        parse_zone(zone, field="zone")
    assert caught.value.field == "zone"


@pytest.mark.fault("D24")
def test_d24_instants_are_aware_and_in_utc_to_the_microsecond():
    given_ = datetime(2026, 1, 1, 1, 2, 3, 456789, timezone(timedelta(hours=2)))
    read = parse_instant(given_, field="start_at")
    assert read == given_
    assert (read.tzinfo, read.hour, read.microsecond) == (UTC, 23, 456789)
    for naive in (datetime(2026, 1, 1), "2026-01-01T00:00Z", 0, None):  # noqa: DTZ001  - refused for being naive
        with pytest.raises(InputError):
            parse_instant(naive, field="start_at")


@pytest.mark.fault("Z10")
@pytest.mark.parametrize("text", ["9999-12-31T23:59:59.999999-12:00", "0001-01-01T00:00:00+12:00"])
def test_z10_an_instant_outside_the_calendar_in_utc_is_a_typed_error(text):
    with pytest.raises(InputError) as caught:
        parse_instant(datetime.fromisoformat(text), field="start_at")
    assert caught.value.field == "start_at"
