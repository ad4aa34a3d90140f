"""A simulated merchant over each storage, whose contract has a webhook secret."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hints_bench import RELAY_KEY, SECRET, Relay

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import ADMIN, simulated_merchant

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def relay(request, tmp_path) -> Iterator[Relay]:
    clock = FrozenClock(START)
    if request.param == "memory":
        storage = MemoryStorage(clock)
    else:
        url = f"sqlite:///{tmp_path}/hints.db"
        if request.param == "postgres":
            url = request.getfixturevalue("postgres_url")
        upgrade(url)
        storage = SqlAlchemyStorage.open(url, clock=clock)
    shop = simulated_merchant(storage=storage, chain=FakeChain(31337, start=START))
    shop.engine.admin(ADMIN).update_contract("checkout", shop.network, version=1, webhook_secret=SECRET)
    yield Relay(shop, RELAY_KEY)
    storage.close()
