"""Limits of a plan, counted within the paid period."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from evmbilling.errors import InputError


def left(shop, limit="calls"):
    return shop.engine.check_quota("user-1", limit).left


def test_no_access_nothing_left(shop):
    answer = shop.engine.check_quota("user-1", "calls")
    assert (answer.allowed, answer.left) == (False, 0)
    assert not shop.engine.consume_quota("user-1", "calls").allowed


def test_a_use_is_taken_and_the_rest_is_told(shop):
    shop.buy()
    assert left(shop) == 1000
    assert shop.engine.consume_quota("user-1", "calls", 400).left == 600
    assert not shop.engine.consume_quota("user-1", "calls", 601).allowed
    assert left(shop) == 600
    assert shop.engine.consume_quota("user-1", "calls", 600).left == 0
    assert not shop.engine.check_quota("user-1", "calls").allowed


def test_unknown_limits_have_nothing(shop):
    shop.buy()
    assert left(shop, "seats") == 0


@pytest.mark.fault("H18")
def test_h18_parallel_callers_never_take_more_than_there_is(shop):
    shop.buy()
    shop.engine.consume_quota("user-1", "calls", 900)
    with ThreadPoolExecutor(20) as pool:
        taken = list(pool.map(lambda _: shop.engine.consume_quota("user-1", "calls").allowed, range(200)))
    assert sum(taken) == 100
    assert left(shop) == 0


def test_erasing_a_user_gives_no_quota_back(shop):
    shop.buy()
    shop.engine.consume_quota("user-1", "calls", 1000)
    shop.engine.erase("user-1")
    assert shop.engine.access("user-1").allowed
    assert not shop.engine.consume_quota("user-1", "calls").allowed
    assert left(shop) == 0


def test_a_new_paid_period_is_a_new_window(shop):
    shop.buy()
    shop.engine.consume_quota("user-1", "calls", 1000)
    shop.buy(idempotency_key="second")  # the next period, paid ahead
    assert left(shop) == 0
    shop.clock.set(datetime(2026, 2, 28, 13, tzinfo=UTC))
    assert left(shop) == 1000


def test_what_is_taken_back_by_the_chain_leaves_nothing(shop):
    shop.buy()
    shop.engine.consume_quota("user-1", "calls", 10)
    shop.chain.reorganise(3)
    shop.chain.mine(2)
    shop.drain()
    assert left(shop) == 0


def test_the_host_rolls_a_use_back(tmp_path):
    import sqlalchemy as sa

    from evmbilling.adapters.sqlalchemy.migrating import upgrade
    from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
    from evmbilling.testing.merchant import simulated_merchant

    url = f"sqlite:///{tmp_path}/host.db"
    upgrade(url)
    engine = sa.create_engine(url)
    storage = SqlAlchemyStorage(engine)
    shop = simulated_merchant(storage=storage)
    shop.buy()
    with engine.connect() as host, shop.engine.within(host) as billing:
        assert billing.consume_quota("user-1", "calls", 7).left == 993
        host.rollback()
    assert left(shop) == 1000
    shop.clock.advance(timedelta(0))
    engine.dispose()


@pytest.mark.parametrize("amount", [0, -1, True, 1.5, "1", 10**30])
def test_an_amount_is_a_whole_number(shop, amount):
    shop.buy()
    with pytest.raises(InputError) as refused:
        shop.engine.consume_quota("user-1", "calls", amount)
    assert refused.value.field == "amount"
    assert left(shop) == 1000
