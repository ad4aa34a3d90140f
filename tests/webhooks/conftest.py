"""A simulated merchant over each storage, whose contract has a webhook secret."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hints_bench import RELAY_KEY, SECRET, Relay

from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import ADMIN, simulated_merchant

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def relay(request, open_database) -> Relay:
    storage = open_database(request.param, FrozenClock(START))
    shop = simulated_merchant(storage=storage, chain=FakeChain(31337, start=START))
    shop.engine.admin(ADMIN).update_contract("checkout", shop.network, version=1, webhook_secret=SECRET)
    return Relay(shop, RELAY_KEY)
