"""Our own storages pass the kit that authors of storages use."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import pytest
from sql_hands import breaking, hosting, reopened

import forks  # noqa: F401  - other processes begin warm
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance import StorageConformance
from sampling import examples

LOCK_TIMEOUT = 0.4


class OurStorage(StorageConformance):
    """What the usual run takes of each property."""

    def examples(self, number):
        return examples(number)


class TestMemory(OurStorage):
    @pytest.fixture
    def new_storage(self, clock):
        return lambda: MemoryStorage(clock, lock_timeout=LOCK_TIMEOUT)


class SqlStorage(OurStorage):
    """A database of the session, emptied for each test: its statements are compiled once."""

    database: ClassVar[str]

    @pytest.fixture
    def clock(self, clock: FrozenClock) -> FrozenClock:
        return clock

    @pytest.fixture
    def base(self, request):
        return request.getfixturevalue(f"{self.database}_database")

    @pytest.fixture
    def new_storage(self, base, clock):
        def empty():
            base.empty()
            return base.storage

        return empty

    @pytest.fixture
    def reopen(self, base):
        return partial(reopened, base.url, "billing_")

    @pytest.fixture
    def host(self, base):
        with hosting(base.url) as host:
            yield host

    @pytest.fixture
    def broken_call(self, base):
        return partial(breaking, base.storage._engine)

    def connections_in_use(self, storage):
        return storage._engine.pool.checkedout()


class TestSqlite(SqlStorage):
    database = "sqlite"
    capabilities = frozenset({"breakable", "host_transaction", "many_processes", "pool"})


class TestPostgres(SqlStorage):
    database = "postgres"
    capabilities = frozenset({"breakable", "concurrent_writers", "host_transaction", "many_processes", "pool"})
