"""A simulated merchant over each storage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from people_bench import START

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import SimulatedMerchant, simulated_merchant


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def shop(request, tmp_path) -> Iterator[SimulatedMerchant]:
    clock = FrozenClock(START)
    chain = FakeChain(31337, start=START, safe_lag=8, finalized_lag=16)
    if request.param == "memory":
        storage = MemoryStorage(clock)
    else:
        url = f"sqlite:///{tmp_path}/people.db"
        if request.param == "postgres":
            url = request.getfixturevalue("postgres_url")
        upgrade(url)
        storage = SqlAlchemyStorage.open(url, clock=clock)
    yield simulated_merchant(storage=storage, chain=chain)
    storage.close()
