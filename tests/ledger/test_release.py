"""Revenue is earned by time passing: at month boundaries in UTC and at the end of the period."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_records import ORDER, USDC, order

from evmbilling.domain.books.ledger import Account, Balance, earned_by
from evmbilling.domain.selling.orders import Completion
from evmbilling.domain.subscriptions.calendar import Period
from evmbilling.engine.books.release import due_releases, month_starts

YEAR = Period(0, datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2027, 1, 31, 12, tzinfo=UTC))
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  - with st


def complete(at=YEAR.start, **changes):
    done = Completion(tx_hash=b"\1" * 32, log_index=0, block_number=1, block_hash=b"\2" * 32, confirmed_at=at)
    return order(amount=1_000_003, tax=3, completion=done, **changes)


def deferred(taken=0):
    return Balance(account=Account.DEFERRED_REVENUE, owner=ORDER, asset=USDC, credit=1_000_000, debit=taken)


EARNED = [
    (YEAR.start - timedelta(1), 0),
    (YEAR.start, 0),
    (YEAR.start + timedelta(seconds=1), 0),
    (YEAR.start + timedelta(seconds=32), 1),
    (YEAR.start + timedelta(days=182, hours=12), 500_000),
    (YEAR.start + timedelta(days=182, hours=12, microseconds=999_999), 500_000),
    (YEAR.end - timedelta(seconds=1), 999_999),
    (YEAR.end, 1_000_000),
    (YEAR.end + timedelta(9), 1_000_000),
]


@pytest.mark.parametrize(("now", "expected"), EARNED)
def test_earned_is_the_floor_per_whole_second_and_everything_at_the_end(now, expected):
    assert earned_by(1_000_000, YEAR.start, YEAR.end, now) == expected


def test_months_begin_in_utc():
    starts = list(month_starts(datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)))
    assert starts == [datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)]


@given(st.lists(INSTANTS, max_size=6))
def test_running_often_or_once_posts_the_same(instants):
    held, often = deferred(), []
    for now in sorted(instants):
        for at, amount in due_releases(complete(), YEAR, held, now):
            often.append((at, amount))
            held = attrs.evolve(held, debit=held.debit + amount)
    once = due_releases(complete(), YEAR, deferred(), max(instants, default=YEAR.start))
    assert tuple(often) == once
    assert all(amount > 0 for _, amount in once)


def test_a_whole_period_is_released_in_the_end():
    released = due_releases(complete(), YEAR, deferred(), YEAR.end)
    assert len(released) == 13
    assert sum(amount for _, amount in released) == 1_000_000
    assert released[-1][0] == YEAR.end


def test_nothing_is_earned_before_it_was_paid():
    late = datetime(2026, 4, 15, tzinfo=UTC)
    released = due_releases(complete(late), YEAR, deferred(), datetime(2026, 5, 2, tzinfo=UTC))
    assert [at for at, _ in released] == [datetime(2026, 5, 1, tzinfo=UTC)]
    assert released[0][1] == earned_by(1_000_000, YEAR.start, YEAR.end, datetime(2026, 5, 1, tzinfo=UTC))


def test_a_period_that_was_paid_after_its_end_is_released_then():
    paid = YEAR.end + timedelta(3)
    assert due_releases(complete(paid), YEAR, deferred(), paid - timedelta(1)) == ()
    assert due_releases(complete(paid), YEAR, deferred(), paid) == ((paid, 1_000_000),)


def test_a_shop_releases_month_by_month_and_takes_back_what_the_chain_took(bookshop):
    shop, engine = bookshop.merchant, bookshop.engine
    shop.buy("user-1")
    assert bookshop.table() == {"treasury": -19_990_000, "deferred_revenue": 19_990_000}
    shop.settle(1, seconds=12 * 3600 + 60)
    assert (engine.release_revenue().entries, engine.release_revenue().entries) == (1, 0)
    first = bookshop.table()["revenue"]
    assert 0 < first < 19_990_000
    shop.chain.reorganise(4)
    shop.settle(1)
    assert bookshop.table() == {}
    assert engine.release_revenue().entries == 0
    assert bookshop.found() == []


def test_hourly_or_once_ends_in_the_same_sums(make_bookshop):
    hourly, once = make_bookshop(), make_bookshop()
    for shop in (hourly, once):
        for user, plan in itertools.product(("user-1", "user-2"), ("pro", "pack")):
            shop.merchant.buy(user, plan=plan)
    for _ in range(40):
        hourly.merchant.settle(1, seconds=86_400)
        hourly.engine.release_revenue(limit=1)
    hourly.engine.release_revenue()
    once.merchant.settle(1, seconds=40 * 86_400)
    # The next period of both subscriptions has fallen due: it is owed, and earned as it passes.
    assert once.engine.release_revenue().orders == 4
    table = once.table()
    assert table == hourly.table()
    assert (table["treasury"], table["receivable"]) == (-79_960_000, -39_980_000)
    assert 0 < table["deferred_revenue"] < 39_980_000
