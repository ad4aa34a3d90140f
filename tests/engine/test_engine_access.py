"""The question that every host asks: may this user use this now?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from engine_shop import START, make_plan

from evmbilling.domain.subscriptions.dunning import DunningPolicy

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

MICRO = timedelta(microseconds=1)


def around(shop, instant, **query):
    """Return the verdicts a microsecond before an instant, at it, and a microsecond after."""
    seen = []
    for at in (instant - MICRO, instant, instant + MICRO):
        shop.clock.set(at)
        verdict = shop.engine.access("u1", **query)
        seen.append((verdict.allowed, verdict.reason))
    return seen


@pytest.mark.fault("Z11")
def test_z11_a_paid_period_is_half_open(shop):
    shop.pay(shop.checkout())
    until = shop.engine.access("u1").until
    assert until == datetime(2026, 2, 28, 12, 0, 12, tzinfo=UTC)
    assert around(shop, until) == [(True, "paid"), (False, "expired"), (False, "expired")]
    assert around(shop, shop.subscription().anchor) == [(False, "not_started"), (True, "paid"), (True, "paid")]


@pytest.mark.fault("Z11")
def test_z11_grace_widens_access_and_nothing_else(memory_shop):
    make_plan(memory_shop, "kind", product="kind", interval="month", dunning=DunningPolicy(grace_days=3))
    memory_shop.pay(memory_shop.checkout(plan="kind"))
    verdict = memory_shop.engine.access("u1")
    assert verdict.grace_until == verdict.until + timedelta(days=3)
    assert around(memory_shop, verdict.until) == [(True, "paid"), (True, "grace"), (True, "grace")]
    assert around(memory_shop, verdict.grace_until) == [(True, "grace"), (False, "expired"), (False, "expired")]
    assert memory_shop.subscription().paid_until == verdict.until


@pytest.mark.fault("Z11")
def test_z11_a_trial_is_half_open(memory_shop):
    memory_shop.checkout(plan="trial")
    end = START + timedelta(days=7)
    assert around(memory_shop, end) == [(True, "trial"), (False, "expired"), (False, "expired")]
    assert around(memory_shop, START) == [(False, "not_started"), (True, "trial"), (True, "trial")]


@pytest.mark.fault("Z11")
def test_z11_the_next_period_begins_where_the_last_one_ends(memory_shop):
    memory_shop.pay(memory_shop.checkout())
    boundary = memory_shop.engine.access("u1").until
    memory_shop.pay(memory_shop.checkout("k2"))
    assert around(memory_shop, boundary) == [(True, "paid")] * 3


@pytest.mark.fault("Z04")
def test_z04_periods_are_counted_from_the_anchor(memory_shop):
    memory_shop.chain.mine(2)
    ends = []
    for i in range(5):
        memory_shop.pay(memory_shop.checkout(f"k{i}"), depth=3)
        ends.append(memory_shop.subscription().paid_until)
    assert [(e.month, e.day) for e in ends] == [(2, 28), (3, 31), (4, 30), (5, 31), (6, 30)]


@pytest.mark.fault("Z06")
def test_z06_the_calendar_is_the_one_of_the_zone_that_was_chosen(memory_shop):
    memory_shop.pay(memory_shop.checkout(zone="Europe/Berlin"))
    memory_shop.pay(memory_shop.checkout("k2"))
    # 31 January 13:00 in Berlin is 12:00 UTC; 31 March 13:00 is 11:00 UTC.
    assert memory_shop.subscription().paid_until == datetime(2026, 3, 31, 11, 0, 12, tzinfo=UTC)
    assert memory_shop.subscription().zone == "Europe/Berlin"


def test_feature_and_product_choose(memory_shop):
    memory_shop.pay(memory_shop.checkout())
    table = {
        (): True,
        (("product", "saas"),): True,
        (("product", "saas/1"),): False,
        (("product", "book"),): False,
        (("feature", "api"),): True,
        (("feature", "sso"),): False,
        (("feature", ""),): False,
        (("product", "saas"), ("feature", "api")): True,
        (("product", "book"), ("feature", "api")): False,
    }
    assert {query: memory_shop.allowed(**dict(query)) for query in table} == table


def test_the_best_of_several_holds_answers(memory_shop):
    memory_shop.pay(memory_shop.checkout("a"))
    memory_shop.checkout("b", plan="trial")
    site = memory_shop.checkout("c", plan="site", product="site/1")
    memory_shop.pay(site)
    verdict = memory_shop.engine.access("u1")
    latest = max(s.paid_until for s in memory_shop.engine.subscriptions("u1") if s.paid_until)
    assert (verdict.allowed, verdict.until) == (True, latest)
    memory_shop.pay(memory_shop.checkout("d", plan="once"))
    assert memory_shop.engine.access("u1").until is None
    assert memory_shop.engine.access("u1", "site/1").limits == (("pages", 10),)


@pytest.mark.parametrize("user_id", ["nobody", "U1", "u1/", "u", "u11", "%", "u_", "u1'--"])
def test_a_user_whom_we_do_not_know_has_nothing(memory_shop, user_id):
    memory_shop.pay(memory_shop.checkout())
    before = memory_shop.dump()
    verdict = memory_shop.engine.access(user_id)
    assert (verdict.allowed, verdict.reason, verdict.limits) == (False, "no_plan", ())
    assert memory_shop.dump() == before


def test_what_is_not_paid_gives_no_limits(memory_shop):
    memory_shop.checkout()
    verdict = memory_shop.engine.access("u1")
    assert (verdict.allowed, verdict.reason, verdict.limits, verdict.plan_slug) == (False, "unpaid", (), "pro")


def test_access_is_one_read_and_asks_no_node(memory_shop):
    memory_shop.pay(memory_shop.checkout())
    memory_shop.chain.calls.clear()
    calls = []

    def count(name, _, proceed):
        calls.append(name)
        return proceed()

    memory_shop.storage.hook = count
    assert memory_shop.engine.access("u1", "saas", "api").allowed
    assert calls == ["entitlements", "commit"]
    assert memory_shop.chain.calls == []


def test_access_fails_closed_when_it_cannot_be_read(memory_shop):
    memory_shop.pay(memory_shop.checkout())

    def fail(name, _, __):
        raise ConnectionError(name)

    memory_shop.storage.hook = fail
    with pytest.raises(ConnectionError):
        memory_shop.engine.access("u1")


def test_a_clock_that_goes_back_closes_and_opens_without_a_write(memory_shop):
    memory_shop.pay(memory_shop.checkout())
    before = memory_shop.dump()
    seen = []
    for days in (0, -1, 40, -400, 0):
        memory_shop.clock.set(START + timedelta(days=days, minutes=1))
        seen.append(memory_shop.allowed())
    assert seen == [True, False, False, False, True]
    assert memory_shop.dump() == before
