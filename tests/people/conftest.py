"""A simulated merchant over each storage."""

from __future__ import annotations

import pytest
from people_bench import START

from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import SimulatedMerchant, simulated_merchant


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def shop(request, open_database) -> SimulatedMerchant:
    chain = FakeChain(31337, start=START, safe_lag=8, finalized_lag=16)
    return simulated_merchant(storage=open_database(request.param, FrozenClock(START)), chain=chain)
