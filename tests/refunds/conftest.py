"""A simulated merchant with one paid order, over each storage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from refunds_bench import Desk

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import simulated_merchant

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def desk(request, tmp_path) -> Iterator[Desk]:
    clock = FrozenClock(START)
    if request.param == "memory":
        storage = MemoryStorage(clock)
    else:
        url = f"sqlite:///{tmp_path}/refunds.db"
        if request.param == "postgres":
            url = request.getfixturevalue("postgres_url")
        upgrade(url)
        storage = SqlAlchemyStorage.open(url, clock=clock)
    yield Desk(simulated_merchant(storage=storage, chain=FakeChain(31337, start=START)))
    storage.close()
