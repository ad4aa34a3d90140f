"""Clocks that go back, jump or disagree: nothing is renewed twice, and nothing falls due by a clock that is wrong."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from life_bench import DAY

from evmbilling.adapters.evm.rpc.hexes import read_timestamp
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.actors import SYSTEM
from evmbilling.engine.core import Engine
from evmbilling.errors import InputError, WebhookRejected
from evmbilling.testing.clock import FrozenClock

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

HOUR = timedelta(hours=1)


@pytest.fixture
def doubting(memory_life):
    """A life, an engine that checks its clock, and the database's clock."""
    life = memory_life
    life.start()
    life.go(20)
    database = FrozenClock(life.clock.now())
    life.engine._ports.storage._clock = database
    assert isinstance(life.engine._ports.storage, MemoryStorage)
    return life, Engine(attrs.evolve(life.engine._ports, clock_tolerance=HOUR)), database


@pytest.mark.fault("Z01")
@pytest.mark.parametrize("back", [timedelta(seconds=1), HOUR, DAY], ids=str)
def test_z01_a_clock_that_goes_back_renews_nothing_twice(life, back):
    life.start()
    life.go(40)
    before = life.charged(), life.held(), life.types()
    now = life.clock.now()
    life.clock.set(now - back)
    assert life.engine.run_renewals().changed == 0
    life.clock.set(now)
    assert life.engine.run_renewals().changed == 0
    assert (life.charged(), life.held(), life.types()) == before


@pytest.mark.fault("Z01")
def test_z01_a_payment_while_the_clock_is_back_counts_and_reopens(memory_life):
    life = memory_life
    life.start()
    life.go(40)
    life.chain.pay(life.renewals()[0])
    life.chain.mine(3)
    life.clock.set(life.clock.now() - DAY)
    life.engine.read_chain(life.shop.network)
    life.engine.run_intake()
    assert (life.held().status, life.held().paid_periods) == ("active", 2)
    assert life.engine.run_renewals().changed == 0


@pytest.mark.fault("Z02")
def test_z02_a_jump_of_a_year_halts_the_scheduler_and_says_so_once(doubting):
    life, engine, database = doubting
    before = life.charged(), life.held()
    life.clock.advance(days=365)
    reports = [engine.run_renewals() for _ in range(3)]
    assert [(r.halted, r.looked) for r in reports] == [("clock_ahead", 0)] * 3
    assert (life.charged(), life.held()) == before
    (event,) = engine.admin(SYSTEM).events(type_="billing.scheduler.halted.v1")
    assert event.data["reason"] == "clock_ahead"
    assert (event.aggregate, event.recorded_at) == (f"scheduler:{database.now().date()}", database.now())
    life.clock.set(database.now())
    assert engine.run_renewals().halted is None
    assert (life.charged(), life.held()) == before


@pytest.mark.fault("Z02")
def test_z02_even_unnoticed_it_makes_nothing_due_beyond_what_the_chain_has_seen(memory_life):
    life = memory_life
    life.start()
    life.clock.advance(days=365)  # nobody checks this clock
    assert life.engine.run_renewals().looked == 0
    assert (life.charged(), life.held().status) == ([], "active")
    life.clock.set(life.chain.head.timestamp)
    life.go(40)
    assert [o.period for o in life.renewals()] == [1]


@pytest.mark.fault("Z02")
def test_z02_a_clock_far_behind_halts_too(doubting):
    life, engine, database = doubting
    life.clock.set(database.now() - 2 * HOUR)
    assert engine.run_renewals().halted == "clock_behind"


@pytest.mark.fault("Z03")
@pytest.mark.parametrize("minutes", [-5, 5])
def test_z03_five_minutes_between_the_clocks_change_nothing(doubting, minutes):
    life, engine, database = doubting
    due = life.held().next_charge_at
    database.set(due + DAY + timedelta(minutes=minutes))
    life.chain.mine(timestamp=due + DAY + timedelta(minutes=-minutes))
    life.clock.set(due + DAY)
    life.engine.read_chain(life.shop.network)
    while engine.run_renewals().looked:
        pass
    assert [(o.period, o.due_at, o.claim) for o in life.renewals()] == [(1, due, "owed")]


@pytest.mark.fault("Z03")
def test_z03_the_chains_clock_ahead_of_ours_makes_nothing_due(memory_life):
    life = memory_life
    life.start()
    due = life.held().next_charge_at
    life.clock.set(due - timedelta(seconds=1))
    life.chain.mine(timestamp=due + DAY)
    life.engine.read_chain(life.shop.network)
    while life.engine.run_renewals().looked:
        pass
    assert life.renewals()[0].claim is None
    life.clock.set(due)
    life.engine.run_renewals()
    assert life.renewals()[0].claim == "owed"


@pytest.mark.fault("Z11")
@pytest.mark.parametrize(("step", "claim"), [(-1, None), (0, "owed"), (1, "owed")])
def test_z11_a_period_is_due_from_its_first_instant_on(memory_life, step, claim):
    life = memory_life
    life.start()
    due = life.held().next_charge_at
    life.chain.mine(timestamp=due + DAY)
    life.engine.read_chain(life.shop.network)
    life.clock.set(due + timedelta(microseconds=step))
    while life.engine.run_renewals().looked:
        pass
    assert life.renewals()[0].claim == claim


@pytest.mark.fault("Z07")
def test_z07_the_billing_hour_stays_when_summer_time_comes(memory_life):
    life = memory_life
    life.start(zone="Europe/Berlin")
    dues = []
    for _ in range(3):
        life.until(life.held().next_charge_at)
        life.pay(life.renewals()[-1])
        dues.append(life.renewals()[-1].due_at)
    assert [d.strftime("%m-%d %H") for d in dues] == ["02-28 12", "03-31 11", "04-30 11"]


@pytest.mark.fault("Z10")
def test_z10_a_subscription_at_the_end_of_the_calendar_is_held_not_crashed(memory_life):
    life = memory_life
    plan = life.plan(interval=("year", 1000))
    life.start(plan=plan)
    life.start("u2", plan=plan, idempotency_key="u2")
    for _ in range(6):
        life.shop.buy("u1", plan=plan)
    assert life.held().paid_periods == 7
    report = life.engine.run_renewals()
    assert report.halted is None
    assert life.held("u2").status == "active"


@pytest.mark.fault("Z09")
@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "23:59:60"])
def test_z09_a_leap_second_is_no_instant_of_ours_and_crashes_nothing(memory_life, text):
    """Chains and signatures count seconds since 1970, which have no leap second; a text with one is refused."""
    assert read_timestamp(hex(1_483_228_800)) - read_timestamp(hex(1_483_228_799)) == timedelta(seconds=1)
    with pytest.raises(ValueError, match=r"."):
        read_timestamp(text)
    with pytest.raises(InputError) as caught:
        memory_life.checkout(start_at=text)
    assert caught.value.field == "start_at"
    headers = {"webhook-id": "x", "webhook-timestamp": text, "webhook-signature": "v1,AAAA"}
    with pytest.raises(WebhookRejected):
        memory_life.engine.handle_webhook("relay", b"{}", headers)
