"""A simulated merchant with one paid order, over each storage."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from refunds_bench import Desk

from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import simulated_merchant

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def desk(request, open_database) -> Desk:
    storage = open_database(request.param, FrozenClock(START))
    return Desk(simulated_merchant(storage=storage, chain=FakeChain(31337, start=START)))
