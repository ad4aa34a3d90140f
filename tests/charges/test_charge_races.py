"""Many workers at once charge each attempt once: in threads over one simulated chain, in processes on a real one."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier
from typing import Any

import pytest
from charge_bench import LEASE_OVER, PRICE, USER, ChargeBench, OnFake

import forks
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.factory import BillingEngine
from evmbilling.ports.crash import CRASH_VARIABLE
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.merchant import repeatable_secrets
from sampling import EVERYTHING

databases = pytest.mark.parametrize("storage", ["sqlite", "postgres"])


def url_of(bench: ChargeBench) -> str:
    storage: Any = bench.engine._ports.storage
    return str(storage._engine.url.render_as_string(hide_password=False))


def worker(url: str, now: datetime, name: str, sources: Any = None) -> BillingEngine:
    """The engine of another worker of the same merchant."""
    clock = FrozenClock(now)
    return BillingEngine(
        storage=SqlAlchemyStorage.open(url, clock=clock, waits=Waits(lock=20, pool=20, pool_size=4)),
        clock=clock,
        ids=SeededIds(name, clock),
        secrets=repeatable_secrets(),
        sources=sources,
        clock_tolerance=None,
    )


def work(engine: BillingEngine, barrier: Any) -> int:
    """Bill, charge and send until nothing is left to do; return how many charges were handed over."""
    barrier.wait()
    queued = 0
    for _ in range(200):
        billed = engine.run_renewals(limit=2)
        charged = engine.run_charges(limit=2)
        relayed = engine.relay(limit=2)
        queued += charged.queued
        busy = billed.looked + billed.left + charged.changed + sum(charged.left.values())
        if not busy and not relayed.signed + relayed.moved + relayed.busy:
            break
    engine.close()
    return queued


def stocked(bench: ChargeBench, users: list[str]) -> None:
    """Let every user have a mandate, and all of them be due."""
    for user in users:
        bench.subscribe(user=user)
        bench.give(user=user)
    bench.allow(100 * PRICE)
    last = max(bench.held(user).next_charge_at for user in users)
    bench.machine.move_to(last)
    bench.read()


def check_once(bench: ChargeBench, users: list[str], before: int) -> None:
    """Each was charged once, and the money is there once."""
    bench.settle()
    for user in users:
        assert [c.attempt for c in bench.charges(user)] == [1]
        assert bench.charges(user)[0].state in {"submitted", "unknown"}
        assert [o.status for o in bench.renewals(user)] == ["confirmed"]
    assert Counter(s.subject for s in bench.sent()) == {
        f"order:{bench.renewals(user)[0].ledger_id}": 1 for user in users
    }
    assert bench.balance(bench.merchant.treasury) - before == len(users) * PRICE
    assert bench.differences() == []


@pytest.mark.fault("B24")
@databases
def test_b24_workers_in_threads_charge_once(open_bench, storage: str) -> None:
    bench: OnFake = open_bench("fake", storage)
    users = [f"user-{n}" for n in range(6 if EVERYTHING else 4)]
    stocked(bench, users)
    before, url, now = bench.balance(bench.merchant.treasury), url_of(bench), bench.clock.now()
    barrier = Barrier(3)
    engines = [worker(url, now, f"worker {n}", lambda _: bench.chain) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        queued = sum(pool.map(lambda engine: work(engine, barrier), engines))
    assert queued == len(users)
    check_once(bench, users, before)


def in_process(url: str, now: datetime, name: str) -> None:
    work(worker(url, now, name), Barrier(1))


@pytest.mark.fault("B24")
@databases
def test_b24_workers_in_processes_charge_once(open_bench, storage: str) -> None:
    bench = open_bench("anvil", storage)
    users = [f"user-{n}" for n in range(3 if EVERYTHING else 2)]
    stocked(bench, users)
    before, url, now = bench.balance(bench.merchant.treasury), url_of(bench), bench.clock.now()
    ended = [forks.begin(in_process, url, now, f"worker {n}") for n in range(2)]
    for process in ended:
        process.join()
    assert [process.exitcode for process in ended] == [0, 0]
    check_once(bench, users, before)


COMMITS = (1, 2, 3, 5, 8, 13, 21) if EVERYTHING else (1, 3, 8)
PLACES = (*(f"*:{n}" for n in COMMITS), "relayer.signed", "relayer.sent", "")
"""One commit, or one sending, later each time; what is done is not done again, so that it ends before the last."""


@pytest.mark.fault("D16")
@pytest.mark.in_turn  # that a commit is all or nothing on both is shown by the storages' suite and tests/crash
@databases
def test_d16_killed_at_every_step_it_is_charged_once(open_bench, storage: str) -> None:
    bench = open_bench("anvil", storage)
    users = [USER, "bob"]
    stocked(bench, users)
    before, url = bench.balance(bench.merchant.treasury), url_of(bench)
    ended: list[int] = []
    for place in PLACES:
        environment = {**os.environ, CRASH_VARIABLE: place}
        ended.append(forks.run(in_process, url, bench.clock.now(), f"dies at {place}", env=environment).returncode)
        # The lease of the dead one runs out; the chain stands still.
        bench.clock.set(bench.clock.now() + LEASE_OVER)
        if not ended[-1]:
            break
    assert len(ended) > 3
    assert ended == [-signal.SIGKILL] * (len(ended) - 1) + [0]
    check_once(bench, users, before)
