"""A simulated merchant with one paid order, over each storage."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from refunds_bench import Desk

from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import simulated_merchant

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def open_desk(open_database) -> Callable[[str], Desk]:
    """Open a desk over a storage by name."""

    def open_(name: str) -> Desk:
        storage = open_database(name, FrozenClock(START))
        return Desk(simulated_merchant(storage=storage, chain=FakeChain(31337, start=START)))

    return open_


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def desk(request, open_desk) -> Desk:
    """A desk over each storage."""
    return open_desk(request.param)


@pytest.fixture
def memory_desk(open_desk) -> Desk:
    """A desk in memory, for what no database decides."""
    return open_desk("memory")
