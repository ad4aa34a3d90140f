"""Billers: however often, in whatever order, how many at once or how late they run, the same is charged."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from life_bench import DAY, START, Life

import forks
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.decisions import StoreSubscription
from evmbilling.errors import StorageError
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.merchant import repeatable_secrets
from sampling import EVERYTHING

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

POLICIES = [
    {"arrears": "forgive"},
    {"arrears": "accumulate"},
    {"arrears": "cap", "arrears_cap": 2},
    {"arrears": "accumulate", "reminders": [0, 2]},
    {"arrears": "forgive", "steps": [{"name": "gone", "after_days": 75, "actions": ["cancel"]}]},
]


def lived(policy, interval, looks, paid):
    """Let two customers of a plan live through some looks; return what each was charged, and how they stand."""
    life = Life()
    plan = life.plan(dunning=policy, interval=interval)
    for user, ahead in (("u1", 0), ("u2", paid)):
        life.start(user, plan=plan)
        for _ in range(ahead):
            life.shop.buy(user, plan=plan)
    for day in looks:
        life.until(max(START + day * DAY, life.clock.now()))
    charged = {user: life.charged(user) for user in ("u1", "u2")}
    stands = {user: (life.held(user).status, life.held(user).paid_periods, life.owed(user)) for user in ("u1", "u2")}
    with life.engine._ports.storage.unit(write=False) as unit:
        rows = unit.all_balances(limit=10_000)
    totals = Counter()
    for row in rows:
        totals[row.account] += row.net_credit
    return charged, stands, totals


@settings(max_examples=12 if EVERYTHING else 4)
@given(
    policy=st.sampled_from(POLICIES),
    interval=st.sampled_from(["month", "week", ("day", 10)]),
    looks=st.lists(st.integers(1, 99), max_size=6),
    end=st.integers(40, 100),
    paid=st.integers(0, 3),
)
def test_once_after_months_or_often_it_is_the_same_set_of_charges(policy, interval, looks, end, paid):
    often = sorted(day for day in looks if day < end)
    assert lived(policy, interval, [*often, end], paid) == lived(policy, interval, [end], paid)


def test_running_it_again_changes_nothing(life):
    life.start()
    life.go(40)
    before = life.charged(), life.held(), life.types()
    for _ in range(3):
        assert life.engine.run_renewals().looked == 0
    assert (life.charged(), life.held(), life.types()) == before


@pytest.mark.fault("B23")
def test_b23_three_years_of_debt_make_one_order_a_period_and_few_charges_a_day(memory_life):
    life = memory_life
    life.start(plan=life.plan(dunning={"arrears": "accumulate", "charges_per_day": 2, "attempts": [0, 1, 3, 9]}))
    life.mandate()
    life.wallets.answer = lambda _: "balance"
    days = Counter()
    step = 7 if EVERYTHING else 14
    for _ in range(0, 1096, step):
        life.go(step)
        while made := life.wallets.charge(life):
            days[life.clock.now().date()] += len(made)
            life.shop.drain()
    renewals = life.renewals()
    assert [o.period for o in renewals] == list(range(1, 37))
    assert max(days.values()) <= 2
    assert max(o.attempts for o in renewals) <= 4
    assert life.held().debt == 36 * 19_990_000


@pytest.mark.fault("B23")
def test_b23_after_months_of_silence_no_more_is_charged_a_day_than_the_plan_says(life):
    life.start(plan=life.plan(dunning={"arrears": "accumulate", "charges_per_day": 2}))
    life.mandate()
    life.go(200)
    paid = []
    for _ in range(4):
        paid.append(0)
        while done := life.pull():
            paid[-1] += len(done)
        life.go(1)
    assert (paid, life.owed(), life.differences()) == ([2, 2, 2, 0], [], [])


@pytest.mark.fault("B23")
def test_b23_years_of_silence_are_caught_up_in_bounded_steps(life):
    life.start(plan=life.plan(interval="day", dunning={"arrears": "accumulate"}))
    assert len(life.renewals()) == 1
    life.go(100)
    assert len(life.renewals()) == 1 + 31
    life.go(1)
    assert len(life.renewals()) == 1 + 62
    life.go(3, every=DAY)
    assert [o.period for o in life.renewals()] == list(range(1, 105))  # the 104th fell due seconds ago


@pytest.mark.fault("B23")
def test_b23_what_is_forgiven_is_caught_up_at_once(life):
    life.start(plan=life.plan(interval="day"))
    life.go(100)
    assert [o.claim for o in life.renewals()] == ["forgiven"] * 99 + ["owed"]
    assert len(life.told("order.forgiven")) == 0
    assert life.types().count("order.opened") == 3  # the first, the one that was asked for in time, the one owed now


def test_a_poisoned_subscription_stops_no_other(memory_life):
    life = memory_life
    plan = life.plan()
    for user in ("u1", "u2", "u3"):
        life.start(user, plan=plan)
    poisoned = life.held("u2")
    real = life.engine._ports.storage.unit

    @contextmanager
    def unit(*, write=True, durable=True):
        with real(write=write, durable=durable) as opened:
            apply = opened.apply

            def picky(decisions):
                bad = [d for d in decisions if isinstance(d, StoreSubscription) and d.subscription.debt]
                if any(d.subscription.subscription_id == poisoned.subscription_id for d in bad):
                    raise StorageError("this row cannot be written")
                apply(decisions)

            opened.apply = picky
            yield opened

    life.engine._ports.storage.unit = unit
    life.go(40)
    assert [life.held(user).status for user in ("u1", "u2", "u3")] == ["past_due", "active", "past_due"]
    life.engine._ports.storage.unit = real
    life.go(1)
    assert life.held("u2").status == "past_due"


def biller(url, day, barrier, worker):
    """Run a biller in a process, or thread, of its own until nothing is due."""
    clock = FrozenClock(START + day * DAY)
    storage = SqlAlchemyStorage.open(url, clock=clock, waits=Waits(lock=20, pool=20, pool_size=4))
    engine = BillingEngine(
        storage=storage,
        clock=clock,
        ids=SeededIds(f"worker {worker}", clock),
        secrets=repeatable_secrets(),
        sources=lambda _: FakeChain(31337, start=START),
    )
    barrier.wait()
    opened = 0
    for _ in range(200):
        report = engine.run_renewals(limit=3)
        opened += report.opened
        if not report.looked and not report.left:
            break
    engine.close()
    return opened


def in_process(url, barrier, worker):
    print(biller(url, 40, barrier, worker))  # noqa: T201  - for the test to read


def _stocked(open_life, name, customers):
    life = open_life(name)
    plan = life.plan()
    for number in range(customers):
        life.shop.buy(f"u{number}", plan=plan)
    life.chain.mine(timestamp=START + 40 * DAY)
    life.engine.read_chain(life.shop.network)
    return life


def _checked(life, opened, customers):
    assert opened == customers
    for number in range(customers):
        renewals = life.renewals(f"u{number}")
        assert [(o.period, o.claim) for o in renewals] == [(1, "owed")]
        assert life.held(f"u{number}").status == "past_due"
    life.clock.set(START + 40 * DAY)
    assert life.differences() == []


@pytest.mark.fault("B24")
@pytest.mark.fault("O18")
def test_b24_o18_two_billers_in_threads_charge_once(open_life):
    life = _stocked(open_life, "sqlite", 10)
    url = str(life.engine._ports.storage._engine.url)
    barrier = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        opened = sum(pool.map(lambda worker: biller(url, 40, barrier, worker), (1, 2)))
    _checked(life, opened, 10)


@pytest.mark.fault("B24")
@pytest.mark.fault("O18")
def test_b24_o18_billers_in_processes_charge_once_and_share_the_work(open_life, tmp_path):
    life = _stocked(open_life, "postgres", 12)
    url = life.engine._ports.storage._engine.url.render_as_string(hide_password=False)
    barrier = multiprocessing.get_context("forkserver").Barrier(2)
    said = [tmp_path / f"opened by {worker}" for worker in (1, 2)]
    working = [forks.begin(in_process, url, barrier, worker, out=said[worker - 1]) for worker in (1, 2)]
    for process in working:
        process.join()
    assert [process.exitcode for process in working] == [0, 0]
    opened = [int(said_by.read_text()) for said_by in said]
    _checked(life, sum(opened), 12)


def test_reminders_after_silence_are_one_and_not_many(memory_life):
    life = memory_life
    life.start(plan=life.plan(dunning={"reminders": [-3, 1, 2, 4, 8], "arrears": "accumulate"}))
    life.go(27)
    life.until(life.held().next_charge_at + 9 * DAY + timedelta(hours=1))
    assert [t["days"] for t in life.told("payment.due")] == [-1, 9]
