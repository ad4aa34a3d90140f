"""An engine that was made before a fork: each process holds its own leases, and its threads their own names."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import forks
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.engine.reading.base import held_alone
from evmbilling.factory import BillingEngine
from evmbilling.testing.merchant import repeatable_secrets


def hold_while_others_fork(url):
    storage = SqlAlchemyStorage.open(url)
    engine = BillingEngine(storage=storage, secrets=repeatable_secrets())
    ports = engine._ports
    mine = ports.worker

    def find_it_held(_number):
        assert ports.worker == ports.worker != mine
        with held_alone(ports, "reader:1") as lease:
            assert lease is None

    def take_what_a_thread_that_stayed_behind_had(_number):
        with held_alone(ports, "reader:2") as lease:
            assert lease is not None
            assert lease.owner == ports.worker

    with held_alone(ports, "reader:1") as lease, ports.claims.taken("reader:2"):
        assert lease is not None
        assert lease.owner == mine
        forks.in_children(1, find_it_held)
        forks.in_children(1, take_what_a_thread_that_stayed_behind_had)
        with held_alone(ports, "reader:2") as other:
            assert other is None
    assert ports.worker == mine
    engine.close()
    storage.close()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_lease_of_the_parent_is_not_that_of_a_fork(databases, database):
    with databases.lend(database) as url:
        done = forks.run(hold_while_others_fork, url)
    assert done.returncode == 0, done.stderr
