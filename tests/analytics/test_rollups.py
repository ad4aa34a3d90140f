"""Any span is made up of sums exactly: the same as adding up every movement in it."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
from figure_facts import INSTANTS, MOVES, USDC
from hypothesis import example, given
from hypothesis import strategies as st

from evmbilling.domain.books.movements import Move, Series
from evmbilling.domain.books.report_spans import default_since, spans_of
from evmbilling.domain.books.rollups import (
    Cell,
    add_up,
    cover,
    cover_until,
    joined,
    keeps_quarters_from,
    next_month,
    start_of,
)
from evmbilling.domain.books.span_totals import parts_of, sums_of, totals_of, with_moves
from evmbilling.errors import InputError

QUARTERS = datetime(2026, 3, 1, tzinfo=UTC)
ROUND = st.integers(0, 110 * 24 * 4).map(lambda n: datetime(2026, 1, 20, tzinfo=UTC) + n * timedelta(minutes=15))


def plain(moves):
    """Add movements up, by series, chain and denominator."""
    sums = defaultdict(lambda: [0, 0])
    for move in moves:
        total = sums[(move.series, move.asset.chain_id, move.per)]
        total[0] += move.amount
        total[1] += move.items
    return {key: tuple(total) for key, total in sums.items() if any(total)}


def made_up(spans, cells, moves, later=()):
    totals = totals_of(
        list(parts_of(0, spans)), {str(move.series) for move in moves}, [(c.grain, c.tally) for c in cells.values()]
    )
    ends = [(sign, m) for begin, end, sign in spans.ends for m in moves if begin <= m.occurred_at < end]
    found = sums_of(with_moves(0, totals, [*ends, *((-1, move) for move in later)]))
    return {(one.series, one.asset.chain_id, one.per): (one.amount, one.items) for one in found}


@given(st.lists(MOVES, max_size=30), INSTANTS | ROUND, INSTANTS | ROUND)
@example([], QUARTERS, QUARTERS)
def test_a_span_is_the_sum_of_what_happened_in_it(moves, one, other):
    since, until = sorted((one, other))
    cells = add_up(moves, quarters_from=QUARTERS)
    spans = cover(since, until, quarters_from=QUARTERS)
    assert made_up(spans, cells, moves) == plain(m for m in moves if since <= m.occurred_at < until)


@given(st.lists(MOVES, max_size=30), INSTANTS | ROUND)
def test_everything_before_an_instant_is_everything_less_what_came_later(moves, until):
    cells = add_up(moves, quarters_from=QUARTERS)
    spans = cover_until(until, quarters_from=QUARTERS)
    assert made_up(spans, cells, moves) == plain(m for m in moves if m.occurred_at < until)


@given(st.lists(MOVES, max_size=20), st.lists(MOVES, max_size=20))
def test_sums_grow_by_what_is_added(first, second):
    once = add_up([*first, *second], quarters_from=QUARTERS)
    held = add_up(first, quarters_from=QUARTERS)
    held.update((cell.key, cell) for cell in joined(list(held.values()), add_up(second, quarters_from=QUARTERS)))
    assert held == once


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns"])
def test_a_row_of_a_report_reads_few_sums(zone):
    """A day in any zone is its day in UTC and at most twelve hours; in the last 90 days also its quarters."""
    until = datetime(2026, 5, 1, tzinfo=UTC)
    for by in ("day", "week", "month"):
        for span in spans_of(default_since(until, zone, by), until, zone, by):
            spans = cover(span.start, span.end, quarters_from=QUARTERS)
            assert len(spans.cells) <= 2 * (12 + 2) + 32
            recent = span.start >= QUARTERS
            assert not (recent and spans.ends), "a boundary on a quarter of an hour needs no movement"
            assert all(end - begin < timedelta(hours=1) for begin, end, _ in spans.ends)


def test_nothing_moves_nothing():
    nothing = Move(source="entry:1", seq=0, series=Series.NONE, asset=USDC, occurred_at=QUARTERS, recorded_at=QUARTERS)
    assert add_up([nothing], quarters_from=QUARTERS) == {}


def test_where_stretches_begin():
    at = datetime(2026, 12, 31, 23, 59, 59, 5, tzinfo=UTC)
    starts = {grain: start_of(grain, at) for grain in ("quarter", "hour", "day", "month", "ever")}
    assert [start.isoformat() for start in starts.values()] == [
        "2026-12-31T23:45:00+00:00",
        "2026-12-31T23:00:00+00:00",
        "2026-12-31T00:00:00+00:00",
        "2026-12-01T00:00:00+00:00",
        "1970-01-01T00:00:00+00:00",
    ]
    assert next_month(starts["month"]) == datetime(2027, 1, 1, tzinfo=UTC)
    assert keeps_quarters_from(at) == datetime(2026, 10, 2, tzinfo=UTC)
    assert Cell(grain="day", starts_at=at, series="x", asset=USDC, per=1).key[0] == "day"


def test_days_with_a_change_of_the_clock_are_23_and_25_hours_long():
    zone = "Europe/Berlin"
    spring = spans_of(datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 29, 20, tzinfo=UTC), zone, "day")
    autumn = spans_of(datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 10, 25, 20, tzinfo=UTC), zone, "day")
    assert [(s.end - s.start, s.label) for s in spring] == [(timedelta(hours=23), "2026-03-29")]
    assert [(s.end - s.start, s.label) for s in autumn] == [(timedelta(hours=25), "2026-10-25")]


def test_weeks_begin_on_monday_and_months_on_the_first():
    until = datetime(2026, 5, 6, 12, tzinfo=UTC)
    weeks = spans_of(default_since(until, "UTC", "week"), until, "UTC", "week")
    months = spans_of(default_since(until, "UTC", "month"), until, "UTC", "month")
    assert (len(weeks), weeks[-1].label, weeks[-1].start.weekday()) == (13, "2026-05-04", 0)
    assert (len(months), months[0].label, months[-1].label) == (12, "2025-06-01", "2026-05-01")
    assert all(a.end == b.start for a, b in itertools.pairwise(months))


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [
        (datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC), "until"),
        (datetime(2020, 5, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC), "since"),
    ],
)
def test_a_report_has_rows_but_not_endlessly_many(since, until, field):
    with pytest.raises(InputError) as caught:
        spans_of(since, until, "UTC", "day")
    assert caught.value.field == field


@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1)), st.integers(1, 13))  # noqa: DTZ001  - made UTC below
def test_a_few_days_are_read_as_they_are(start, days):
    """Wherever they are in a month, and not as the month without the rest of it."""
    since = start_of("day", start.replace(tzinfo=UTC))
    spans = cover(since, since + timedelta(days=days), quarters_from=QUARTERS)
    if start_of("month", since) == start_of("month", since + timedelta(days=days)):
        assert spans.cells == {("day", since + timedelta(days=n)): 1 for n in range(days)}
