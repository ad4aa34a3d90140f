"""Many threads and processes on one SQLite file: nobody is passed over until its patience ends."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import forks
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.turns import Turns
from evmbilling.errors import RetryTransaction

THREADS = 12
ROUNDS = 8
STEPS_OF_A_WORKER = Waits(lock=2, pool=20)


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_threads_write_in_the_order_in_which_they_came():
    turns, came = Turns(), []

    def write(number):
        with turns.taken(20):
            came.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    with turns.taken(1):
        for number, thread in enumerate(threads):
            thread.start()
            until(lambda wanted=number + 1: len(turns._waiting) == wanted)
    for thread in threads:
        thread.join(20)
    assert came == list(range(8))


def test_a_turn_that_does_not_come_is_given_up_and_the_next_one_has_it():
    turns = Turns()
    with turns.taken(1), ThreadPoolExecutor() as pool:

        def late():
            with turns.taken(0.01):
                pass

        with pytest.raises(RetryTransaction):
            pool.submit(late).result(20)
    with turns.taken(0.01):
        assert turns._taken
    assert not turns._taken


@pytest.mark.parametrize("works", [True, False])
def test_a_turn_ends_with_its_block_whatever_happens_there(works):
    turns = Turns()
    try:
        with turns.taken(1):
            assert works
    except AssertionError:
        pass
    with turns.taken(0.01):
        pass


def test_whoever_waits_to_write_keeps_no_connection_from_readers(databases):
    with databases.lend("sqlite") as url:
        storage = SqlAlchemyStorage.open(url, waits=Waits(pool_size=2, pool=20))
        held, go_on = threading.Event(), threading.Event()

        def hold():
            with storage.unit():
                held.set()
                assert go_on.wait(20)

        with ThreadPoolExecutor(THREADS) as pool:
            first = pool.submit(hold)
            assert held.wait(20)
            waiting = [pool.submit(storage.acquire_lease, f"lease-{n}", "me", 60) for n in range(8)]
            until(lambda: len(storage._turns._waiting) == 8)
            assert storage._engine.pool.checkedout() == 1
            with storage.unit(write=False) as unit:
                assert unit.events(limit=1) == []
            go_on.set()
            first.result(20)
            assert [lease.result(20).fence for lease in waiting] == [1] * 8
        storage.close()


def crowd(url: str, name: str) -> None:
    """Write like the steps of a worker that have much to do, a thread each; fail when a wait runs out."""
    storage = SqlAlchemyStorage.open(url, waits=STEPS_OF_A_WORKER)

    def step(number: int) -> None:
        for _ in range(ROUNDS):
            lease = storage.acquire_lease(f"{name}-{number}", name, 60)
            assert lease is not None
            with storage.unit():
                time.sleep(0.008)  # what a batch takes
            storage.release_lease(lease)

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(step, number) for number in range(THREADS)]:
            done.result()
    storage.close()


def test_no_lease_and_no_batch_of_two_busy_workers_finds_the_file_locked_for_too_long(databases, tmp_path):
    with databases.lend("sqlite") as url:
        errors = [tmp_path / f"{name}.err" for name in ("one", "two")]
        processes = [forks.begin(crowd, url, path.stem, err=path) for path in errors]
        for process in processes:
            process.join(120)
        assert [(process.exitcode, path.read_text()) for process, path in zip(processes, errors, strict=True)] == [
            (0, ""),
            (0, ""),
        ]
