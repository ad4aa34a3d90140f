"""Limits of a plan, counted within the paid period."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from databases import make_sqlite
from evmbilling.errors import InputError
from evmbilling.testing.merchant import ADMIN, plan_fields
from sampling import EVERYTHING


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
    with ThreadPoolExecutor(200) as pool:
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


@pytest.mark.parametrize("plan", ["pro", "pack"])
def test_what_was_used_stays_used_when_the_payment_is_mined_again_in_another_block(shop, plan):
    offer = shop.checkout(plan=plan)
    paid = shop.chain.pay(offer.order)
    shop.settle()
    shop.engine.consume_quota("user-1", "calls", 900)
    shop.chain.reorganise(3)
    shop.chain.mine(2)
    shop.drain()
    assert not shop.engine.consume_quota("user-1", "calls").allowed
    shop.chain.resend(paid)
    shop.settle(4)
    assert left(shop) == 100


def test_a_trial_and_the_first_paid_period_are_two_windows(shop):
    fields = plan_fields(shop, "tried", product="tried", trial_days=7)
    shop.engine.admin(ADMIN).create_plan(**fields)
    offer = shop.checkout(plan="tried")
    assert shop.engine.consume_quota("user-1", "calls", 1000).left == 0
    shop.chain.pay(offer.order)
    shop.settle()
    assert left(shop) == 0
    shop.advance(days=8)
    assert (shop.engine.access("user-1").reason, left(shop)) == ("paid", 1000)


def test_the_host_rolls_a_use_back(tmp_path):
    import sqlalchemy as sa

    from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
    from evmbilling.testing.merchant import simulated_merchant

    url = make_sqlite(tmp_path / "host.db")
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


def bundle(shop, calls=1000):
    """A second product with a limit of the same name."""
    fields = plan_fields(shop, "other", product="other", limits={"calls": calls})
    shop.engine.admin(ADMIN).create_plan(**fields)
    shop.buy(plan="other")


def test_two_products_with_a_limit_of_one_name_are_both_used_up(shop):
    """Each gives its own uses; one use is taken whole, out of one of them."""
    shop.buy()
    bundle(shop, calls=300)
    assert left(shop) == 1000
    assert not shop.engine.consume_quota("user-1", "calls", 1001).allowed
    assert shop.engine.consume_quota("user-1", "calls", 1000).left == 300
    assert shop.engine.check_quota("user-1", "calls", 300).allowed
    assert shop.engine.consume_quota("user-1", "calls", 300).left == 0
    assert not shop.engine.consume_quota("user-1", "calls").allowed


def test_a_thing_that_is_bought_again_adds_its_uses(shop):
    shop.buy(plan=shop.pack)
    shop.engine.consume_quota("user-1", "calls", 400)
    shop.buy(plan=shop.pack)
    assert [shop.engine.consume_quota("user-1", "calls", 800).allowed for _ in range(2)] == [True, False]
    assert [shop.engine.consume_quota("user-1", "calls", 600).allowed for _ in range(2)] == [True, False]
    assert left(shop) == 200


def test_what_ends_first_is_used_first(shop):
    shop.buy(plan=shop.pack)
    shop.buy()
    shop.engine.consume_quota("user-1", "calls", 700)
    shop.clock.set(datetime(2026, 2, 28, 13, tzinfo=UTC))  # the month is over, and what was bought for good is there
    assert left(shop) == 1000


def test_a_window_is_the_paid_period_to_the_second(shop):
    shop.buy()
    border = shop.engine.subscriptions("user-1")[0].paid_until
    shop.buy()  # the next period
    second = timedelta(seconds=1)
    shop.clock.set(border - second)
    assert shop.engine.consume_quota("user-1", "calls", 1000).left == 0
    shop.clock.set(border)
    assert shop.engine.consume_quota("user-1", "calls", 1).left == 999
    end = shop.engine.subscriptions("user-1")[0].paid_until
    shop.clock.set(end - second)
    assert left(shop) == 999
    shop.clock.set(end)
    assert left(shop) == 0


def test_in_days_of_grace_the_uses_are_those_of_the_period_that_is_to_be_paid(shop):
    fields = plan_fields(shop, "kind", product="kind", dunning={"grace_days": 3})
    shop.engine.admin(ADMIN).create_plan(**fields)
    shop.buy(plan="kind")
    held = shop.engine.subscriptions("user-1")[0]
    shop.engine.consume_quota("user-1", "calls", 1000)
    shop.advance(held.paid_until - shop.clock.now())
    assert shop.engine.consume_quota("user-1", "calls", 600).left == 400
    shop.buy(plan="kind")
    assert (shop.engine.access("user-1").reason, left(shop)) == ("paid", 400)


@pytest.mark.both_databases
def test_a_limit_that_shrinks_below_what_was_used_leaves_nothing(shop):
    """The smaller plan counts on what was used in the larger: nothing is owed, and nothing is given anew."""
    shop.engine.admin(ADMIN).create_plan(**plan_fields(shop, "small", limits={"calls": 100}))
    shop.buy()
    assert shop.engine.consume_quota("user-1", "calls", 600).left == 400
    (held,) = shop.engine.subscriptions("user-1")
    shop.engine.change_subscription(held.subscription_id, timing="now", plan="small")
    (smaller,) = shop.engine.subscriptions("user-1")
    assert (smaller.plan_slug, shop.engine.access("user-1").allowed) == ("small", True)
    for ask in (shop.engine.check_quota, shop.engine.consume_quota):
        answer = ask("user-1", "calls")
        assert (answer.allowed, answer.left) == (False, 0)


@pytest.mark.fault("H18")
def test_h18_parallel_callers_of_two_products_take_what_both_give(shop):
    shop.buy()
    bundle(shop, calls=30)
    callers = 200 if EVERYTHING else 60
    shop.engine.consume_quota("user-1", "calls", 1030 - callers // 2)
    with ThreadPoolExecutor(callers) as pool:
        taken = list(pool.map(lambda _: shop.engine.consume_quota("user-1", "calls").allowed, range(callers)))
    assert (sum(taken), left(shop)) == (callers // 2, 0)
