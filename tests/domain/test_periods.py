"""The period table: tiles without gap or overlap, whatever the anchor, the zone and the changes of zone."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import attrs
import pytest
from domain_records import at, change, period_order, period_receipt, subscription
from hypothesis import given, settings
from hypothesis import strategies as st
from zones import ZONES

from evmbilling.domain.catalogue.plan_terms import TermsChange
from evmbilling.domain.subscriptions.calendar import Interval, resolve_wall_time
from evmbilling.domain.subscriptions.calendars import calendar_of
from evmbilling.domain.subscriptions.periods import PeriodTable, Segment, plain_table, table_of, zones_that_hold
from evmbilling.domain.subscriptions.standing import standing
from evmbilling.domain.subscriptions.terms import FromPeriod, TermsBook
from evmbilling.errors import InputError
from sampling import examples

MONTH, YEAR, WEEK, DAY = Interval("month"), Interval("year"), Interval("week"), Interval("day")
MOMENT = timedelta(microseconds=1)
anchors = st.datetimes(datetime(2020, 1, 1), datetime(2060, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  - bounds
intervals = st.builds(Interval, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 5))
moves = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(ZONES)), max_size=3).map(sorted)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def table_with_zones(table, zones):
    """The table after changes of zone: (first period, zone), in the order in which they were decided."""
    for period, zone in zones_that_hold(zones).items():
        table = table.with_zone(zone, period)
    return table


def wall(instant, zone):
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@pytest.mark.fault("Z04")
@pytest.mark.fault("Z07")
@pytest.mark.parametrize("zone", ZONES)
def test_z04_z07_twenty_years_of_months_from_every_day(zone):
    """Every anchor day, every zone: the day of the anchor or the month's last, at the anchor's time of day."""
    for day in range(1, 32):
        local = datetime(2027, 1, day, 9, 30)  # noqa: DTZ001  - a wall time
        table = plain_table(resolve_wall_time(local, zone), MONTH, zone)
        for index in range(day % 3, 240, 3):
            begins = wall(table.start(index), zone)
            year, month = divmod(2027 * 12 + index, 12)
            last = calendar.monthrange(year, month + 1)[1]
            assert begins == datetime(year, month + 1, min(day, last), 9, 30)  # noqa: DTZ001  - a wall time


@pytest.mark.fault("Z05")
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Chatham"])
def test_z05_a_year_from_29_february_returns_to_it(zone):
    table = plain_table(resolve_wall_time(datetime(2028, 2, 29, 23, 59), zone), YEAR, zone)  # noqa: DTZ001  - a wall time
    days = [wall(table.start(index), zone).day for index in range(13)]
    assert days == [29, 28, 28, 28] * 3 + [29]


@pytest.mark.fault("Z06")
@pytest.mark.parametrize(
    ("zone", "local", "there"),
    [
        ("Europe/Berlin", "2026-01-29T02:30", ("2026-03-29T01:30", "2026-10-29T01:30")),
        ("America/New_York", "2026-01-01T01:30", ("2026-03-01T06:30", "2026-11-01T05:30")),
    ],
)
def test_z06_a_gap_moves_forward_and_a_fold_takes_the_first(zone, local, there):
    table = plain_table(resolve_wall_time(datetime.fromisoformat(local), zone), MONTH, zone)
    starts = {table.start(index) for index in range(12)}
    assert {utc(text) for text in there} <= starts


@settings(max_examples=examples(60))
@given(anchor=anchors, interval=intervals, zone=st.sampled_from(ZONES), changes=moves)
def test_periods_tile_and_an_instant_is_in_exactly_one(anchor, interval, zone, changes):
    table = table_with_zones(plain_table(anchor, interval, zone), changes)
    starts = [table.start(index) for index in range(26)]
    assert starts[0] == anchor
    assert all(before < after for before, after in pairwise(starts))
    for index in range(25):
        assert table.end(index) == starts[index + 1]
        assert table.index_at(starts[index]) == index
        assert table.index_at(starts[index + 1] - MOMENT) == index
    assert table.index_at(anchor - MOMENT) == -1


@pytest.mark.fault("Z07")
@settings(max_examples=examples(60))
@given(anchor=anchors, interval=intervals, zone=st.sampled_from(ZONES), changes=moves)
def test_z07_a_change_of_zone_never_moves_what_was_before_it(anchor, interval, zone, changes):
    table = plain_table(anchor, interval, zone)
    for number in range(1, len(changes) + 1):
        after = table_with_zones(plain_table(anchor, interval, zone), changes[:number])
        period = changes[number - 1][0]
        assert [after.start(n) for n in range(period + 1)] == [table.start(n) for n in range(period + 1)]
        table = after


@settings(max_examples=examples(60))
@given(anchor=anchors, interval=intervals, zones=st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)))
def test_after_a_change_of_zone_the_wall_time_of_the_anchor_is_kept(anchor, interval, zones):
    table = table_with_zones(plain_table(anchor, interval, zones[0]), [(3, zones[1])])
    begun = wall(anchor, zones[0])
    for index in (5, 9):
        local = wall(table.start(index), table.zone(index))
        exact = resolve_wall_time(local.replace(hour=begun.hour, minute=begun.minute), table.zone(index))
        # Within an hour, where the wall time does not exist on that day.
        assert abs(exact - table.start(index).replace(second=exact.second, microsecond=exact.microsecond)) <= timedelta(
            hours=1
        )


@settings(max_examples=examples(60))
@given(anchor=anchors, interval=intervals, zones=st.tuples(st.sampled_from(ZONES), st.sampled_from(ZONES)))
def test_a_stub_is_between_half_of_a_period_and_one_and_a_half(anchor, interval, zones):
    table = table_with_zones(plain_table(anchor, interval, zones[0]), [(2, zones[1])])
    length, full = table.share(2)
    assert length == int((table.end(2) - table.start(2)).total_seconds())
    assert full <= 2 * length <= 3 * full + 2 * 26 * 3600
    for index in (0, 1, 4):
        assert table.share(index)[0] == table.share(index)[1]


def test_from_berlin_to_new_york_a_period_is_six_hours_longer_and_back_it_is_shorter():
    table = plain_table(utc("2026-01-31T23:00"), MONTH, "Europe/Berlin")
    there = table_with_zones(table, [(2, "America/New_York")])
    assert [there.start(n) for n in (1, 2)] == [utc("2026-02-28T23:00"), utc("2026-03-31T22:00")]
    assert (there.start(3), there.start(4)) == (utc("2026-05-01T04:00"), utc("2026-06-01T04:00"))
    assert there.share(2) == (30 * 86_400 + 6 * 3600, 30 * 86_400)
    back = table_with_zones(table, [(2, "America/New_York"), (4, "Europe/Berlin")])
    assert (back.start(4), back.start(5)) == (utc("2026-06-01T04:00"), utc("2026-06-30T22:00"))
    assert back.share(4) == (30 * 86_400 - 6 * 3600, 30 * 86_400)


def test_the_31st_is_not_lost_by_a_change_of_zone():
    table = table_with_zones(plain_table(utc("2026-01-31T12:00"), MONTH, "UTC"), [(1, "Asia/Kathmandu")])
    days = [wall(table.start(n), "Asia/Kathmandu").day for n in range(2, 8)]
    assert days == [31, 30, 31, 30, 31, 31]


def test_zones_of_one_clock_need_no_stub():
    table = table_with_zones(plain_table(utc("2026-01-31T12:00"), MONTH, "Europe/Berlin"), [(2, "Europe/Paris")])
    assert [s.stub for s in table.segments] == [False, False]
    assert table.zone(1) == "Europe/Berlin"
    assert table.zone(2) == "Europe/Paris"
    assert table.start(3) == plain_table(utc("2026-01-31T12:00"), MONTH, "Europe/Berlin").start(3)


def test_of_two_changes_for_one_boundary_the_later_one_holds():
    plain = plain_table(utc("2026-01-31T12:00"), MONTH, "UTC")
    both = table_with_zones(plain, [(2, "Asia/Kathmandu"), (2, "America/New_York")])
    assert both == table_with_zones(plain, [(2, "America/New_York")])
    assert table_with_zones(plain, [(2, "Asia/Kathmandu"), (2, "UTC")]) == plain


def test_a_zone_for_the_first_period_is_the_zone_of_all():
    table = table_with_zones(plain_table(utc("2026-01-31T12:00"), MONTH, "UTC"), [(0, "Asia/Kathmandu")])
    assert table == plain_table(utc("2026-01-31T12:00"), MONTH, "Asia/Kathmandu")


def test_a_subscription_knows_its_calendar_from_its_changes():
    moved = change("zone", at(40), seq=1)
    facts = {"period": 2, "zone": "Pacific/Kiritimati"}
    moved = type(moved)(**{name: getattr(moved, name) for name in moved.__slots__ if name != "__weakref__"} | facts)
    orders, receipts = [period_order(n) for n in range(4)], [period_receipt(n) for n in range(4)]
    held = subscription()
    placed = standing(held, orders, receipts, [moved], at(100)).subscription
    assert placed.table == table_with_zones(plain_table(placed.anchor, MONTH, "UTC"), [(2, "Pacific/Kiritimati")])
    assert placed.paid_until == placed.table.end(3)
    assert [s.first for s in placed.segments] == [2, 3]


@pytest.mark.fault("Z10")
def test_z10_a_table_ends_with_the_calendar():
    table = plain_table(utc("9998-06-01T00:00"), MONTH, "UTC")
    with pytest.raises(InputError) as caught:
        table.start(10**6)
    assert caught.value.field == "interval"
    with pytest.raises(InputError):
        plain_table(utc("2026-01-01T00:00"), Interval("none"), "UTC")


@pytest.mark.fault("Z11")
def test_z11_a_boundary_belongs_to_the_period_that_it_begins():
    table = plain_table(utc("2026-01-31T12:00"), MONTH, "UTC")
    assert [table.index_at(table.start(5) + step) for step in (-MOMENT, timedelta(), MOMENT)] == [4, 5, 5]


def test_a_segment_names_its_own_boundaries():
    segment = Segment(first=3, anchor=utc("2026-01-31T12:00"), interval=MONTH, zone="UTC", offset=2)
    assert segment.start(3) == utc("2026-03-31T12:00")
    assert PeriodTable((segment,)).segment(0) is segment


def test_a_rest_of_less_than_half_a_period_is_added_to_the_stub() -> None:
    table = plain_table(datetime(2026, 3, 1, tzinfo=UTC), Interval("day"), "Australia/Brisbane").with_zone("UTC", 2)
    lengths = [table.end(n) - table.start(n) for n in range(1, 4)]
    assert lengths == [timedelta(hours=24), timedelta(hours=34), timedelta(hours=24)]


pauses = st.tuples(st.timedeltas(timedelta(seconds=1), timedelta(days=400)), st.integers(1, 14), st.integers(0, 6))


@given(
    date=st.tuples(st.integers(1, 12), st.integers(1, 31)),
    zone=st.sampled_from(ZONES),
    interval=intervals,
    paused=pauses,
)
@settings(max_examples=examples(60))
def test_a_pause_takes_and_gives_no_paid_time(date, zone, interval, paused):
    """Every paid period keeps its length to the second; the rest is counted from where the paid time ends."""
    (month, day), (pause, period, ahead) = date, paused
    local = datetime(2027, month, min(day, calendar.monthrange(2027, month)[1]), 9, 30)  # noqa: DTZ001  - a wall time
    table = plain_table(resolve_wall_time(local, zone), interval, zone)
    paid_to = period + ahead
    delayed = table.with_delay(pause, period, paid_to=paid_to)
    for index in range(period):
        assert delayed.start(index) == table.start(index)
    for index in range(period, paid_to + 1):
        assert delayed.start(index) == table.start(index) + pause
    anew = plain_table(delayed.start(paid_to), interval, zone)
    for index in range(paid_to, paid_to + 8):
        assert delayed.start(index) == anew.start(index - paid_to)
    starts = [delayed.start(index) for index in range(paid_to + 9)]
    assert all(one < other for one, other in pairwise(starts))
    for index, begins in enumerate(starts[:-1]):
        assert (delayed.index_at(begins), delayed.index_at(starts[index + 1] - MOMENT)) == (index, index)


def test_a_pause_before_periods_that_are_alike_adds_one_stretch():
    table = plain_table(utc("2027-01-05T09:30"), MONTH, "UTC")
    assert len(table.with_delay(timedelta(days=2), 1, paid_to=9).segments) == 2
    assert len(table.with_delay(timedelta(days=26), 1, paid_to=3).segments) > 2


deeds = st.lists(
    st.one_of(
        st.tuples(st.just("prepay"), st.integers(1, 3)),
        st.tuples(st.just("zone"), st.sampled_from(ZONES)),
        st.tuples(st.just("interval"), intervals),
        st.tuples(
            st.just("pause"), st.tuples(st.timedeltas(timedelta(hours=1), timedelta(days=90)), st.integers(0, 9))
        ),
        st.tuples(st.just("lose"), st.integers(1, 2)),
    ),
    min_size=2,
    max_size=9,
)


class Life:
    """A subscription's calendar as its decisions make it: each one begins where the engine would let it begin."""

    def __init__(self, anchor, interval, zone):
        self.held = subscription(zone=zone, interval=interval)
        self.anchor, self.base = anchor, self.held.terms
        self.paid, self.running, self.seq = 1, 0, 0
        self.changes, self.onward = [], []

    def table(self, *, paid=None, changes=None):
        firsts = dict.fromkeys(range(self.paid if paid is None else paid), self.anchor)
        book = TermsBook(base=self.base, onward=tuple(self.onward))
        changes = self.changes if changes is None else changes
        anchor, segments = calendar_of(self.held, firsts, changes, book)
        return table_of(anchor, self.base.interval, self.held.zone, segments)

    def record(self, kind, when, **facts):
        self.seq += 1
        self.changes.append(attrs.evolve(change(kind, when, seq=self.seq), **facts))

    def prepay(self, periods):
        self.paid += periods

    def lose(self, periods):
        self.paid = max(self.running + 1, self.paid - periods)

    def zone(self, zone):
        self.record("zone", self.anchor, period=self.paid, zone=zone)

    def interval(self, interval):
        self.seq += 1
        terms = TermsChange(before=self.base, after=attrs.evolve(self.base, interval=interval), basis=0)
        self.onward = [c for c in self.onward if c.period != self.paid]
        self.onward.append(FromPeriod(seq=self.seq, terms=terms, period=self.paid, paid=True))

    def pause(self, how):
        length, ahead = how
        before = self.table()
        self.running = min(self.running + ahead, self.paid - 1)
        since = before.start(self.running) + (before.end(self.running) - before.start(self.running)) / 3
        self.record("pause", since)
        period = self.running + 1
        self.record("resume", since + length, period=period, paid_to=max(period, self.paid))
        after = self.table()
        for index in range(period):
            assert after.start(index) == before.start(index)
        for index in range(period, self.paid + 1):
            assert after.start(index) == before.start(index) + length
        for index in range(period, self.paid):
            assert (after.zone(index), after.segment(index).interval) == (
                before.zone(index),
                before.segment(index).interval,
            )
            assert after.segment(index).stub == before.segment(index).stub


@settings(max_examples=examples(200))
@given(
    date=st.tuples(st.integers(1, 12), st.integers(1, 31)), interval=intervals, zone=st.sampled_from(ZONES), deeds=deeds
)
def test_a_pause_moves_what_is_paid_by_itself_whatever_else_changed_the_calendar(date, interval, zone, deeds):
    """Zones, intervals, payments and pauses in any order: what is paid ends later by each pause, to the second."""
    month, day = date
    local = datetime(2027, month, min(day, calendar.monthrange(2027, month)[1]), 9, 30)  # noqa: DTZ001  - a wall time
    life = Life(resolve_wall_time(local, zone), interval, zone)
    for kind, what in deeds:
        getattr(life, kind)(what)
        table = life.table()
        starts = [table.start(index) for index in range(life.paid + 9)]
        assert all(one < other for one, other in pairwise(starts))
        for index, begins in enumerate(starts[:-1]):
            assert (table.index_at(begins), table.index_at(starts[index + 1] - MOMENT)) == (index, index)
        # Payments that are learned of, or go away, later move nothing; nor does the order in which changes are read.
        assert life.table(paid=1).segments == table.segments == life.table(changes=life.changes[::-1]).segments


def test_a_zone_that_changes_within_what_is_paid_ahead_and_the_stub_of_it_go_through_a_pause():
    life = Life(utc("2026-12-31T23:00"), MONTH, "Europe/Berlin")
    life.prepay(1)
    life.zone("America/New_York")
    life.prepay(3)
    before = life.table()
    life.pause((timedelta(days=12), 0))
    table = life.table()
    assert [table.segment(n).stub for n in range(6)] == [False, False, True, False, False, False]
    assert table.share(2)[0] == before.share(2)[0]
    assert table.end(4) == before.end(4) + timedelta(days=12)
    assert table.zone(1) == "Europe/Berlin"
    assert table.zone(5) == "America/New_York"


def test_zones_of_one_clock_stay_apart_through_a_pause():
    life = Life(utc("2027-01-05T12:00"), MONTH, "Europe/Berlin")
    life.prepay(1)
    life.zone("Europe/Paris")
    life.prepay(2)
    life.pause((timedelta(days=2), 0))
    assert [life.table().zone(n) for n in (1, 2, 3)] == ["Europe/Berlin", "Europe/Paris", "Europe/Paris"]


def test_the_price_of_a_stub_is_a_share_of_its_own_interval_whatever_begins_behind_it():
    table = plain_table(utc("2026-01-31T23:00"), MONTH, "Europe/Berlin").with_zone("America/New_York", 2)
    assert table.with_interval(YEAR, 3).share(2) == table.share(2) == (30 * 86_400 + 6 * 3600, 30 * 86_400)


def test_a_resume_that_does_not_say_what_was_paid_counts_anew_from_the_period_that_it_delays():
    life = Life(utc("2027-01-31T12:00"), MONTH, "UTC")
    life.prepay(3)
    life.record("pause", at(400))
    life.record("resume", at(410), period=1)
    begins = plain_table(life.anchor, MONTH, "UTC").start(1) + timedelta(days=10)
    assert life.table() == PeriodTable(
        (life.table().segments[0], Segment(first=1, anchor=begins, interval=MONTH, zone="UTC"))
    )
