"""Processes that were forked after a storage was used: each has connections of its own."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import forks
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.conformance.storage import records as b

CHILDREN = 3
EACH = 20


def store(storage, name):
    with storage.unit() as unit:
        unit.lock_customer(b.customer(name))


def find(storage, name):
    with storage.unit(write=False) as unit:
        return unit.customer(name)


def sessions(storage):
    return {record.dbapi_connection.info.backend_pid for record in list(storage._engine.pool._pool.queue)}


def sell_in_forks(url):
    """Use a pool, fork, and go on in all processes at once."""
    storage = SqlAlchemyStorage.open(url, waits=Waits(pool_size=4))
    meet = threading.Barrier(3)

    def warm(number):
        with storage.unit() as unit:
            meet.wait(60)
            unit.lock_customer(b.customer(f"before-{number}"))

    threads = [threading.Thread(target=warm, args=(number,)) for number in range(3 if "postgres" in url else 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store(storage, "before")
    before = sessions(storage) if threads else set()

    def sell(number):
        assert storage._engine.pool.checkedin() == 0
        for customer in range(EACH):
            store(storage, f"child-{number}-{customer}")
            assert find(storage, f"child-{number}-{customer}").user_id == f"child-{number}-{customer}"
        assert not threads or not sessions(storage) & before

    forks.in_children(CHILDREN, sell)
    for customer in range(EACH):
        store(storage, f"parent-{customer}")
    assert not threads or sessions(storage) == before
    found = [find(storage, f"child-{n}-{customer}") for n in range(CHILDREN) for customer in range(EACH)]
    assert None not in found
    storage.close()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_forks_share_no_connection(databases, database):
    with databases.lend(database) as url:
        done = forks.run(sell_in_forks, url)
    assert done.returncode == 0, done.stderr


def write_while_the_parent_writes(url):
    """Fork while a thread of the parent has the turn to write: in a fork nobody hands it on."""
    storage = SqlAlchemyStorage.open(url, waits=Waits(pool=0.1))
    with storage._turns.taken(1):
        forks.in_children(CHILDREN, lambda number: store(storage, f"child-{number}"))
    storage.close()


def test_a_fork_waits_for_no_thread_that_stayed_behind(databases):
    with databases.lend("sqlite") as url:
        done = forks.run(write_while_the_parent_writes, url)
    assert done.returncode == 0, done.stderr


def look_into_memory():
    """Fork with a database that is its only connection: each process goes on with what was there."""
    storage = SqlAlchemyStorage.open("sqlite://")
    with storage._engine.begin() as connection:
        upgrade(connection)
    store(storage, "before")

    def go_on(number):
        store(storage, f"child-{number}")
        assert None not in (find(storage, "before"), find(storage, f"child-{number}"))

    forks.in_children(CHILDREN, go_on)
    assert find(storage, "child-0") is None
    storage.close()


def test_a_database_in_memory_is_there_in_a_fork():
    done = forks.run(look_into_memory)
    assert done.returncode == 0, done.stderr
