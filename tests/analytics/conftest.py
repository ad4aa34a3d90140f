"""Shops whose figures are looked at, over each storage."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "refunds"))

from figure_bench import Shop

from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import simulated_merchant

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def open_shop(open_database) -> Callable[..., Shop]:
    """Open a shop over a storage by name."""

    def open_(name: str = "memory", **how) -> Shop:
        storage = open_database(name, FrozenClock(START))
        chain = FakeChain(31337, start=START, seed=1, safe_lag=8, finalized_lag=16)
        return Shop(simulated_merchant(seed=1, storage=storage, chain=chain), **how)

    return open_


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def shop(request, open_shop) -> Shop:
    """A shop over each storage."""
    return open_shop(request.param)


@pytest.fixture
def memory_shop(open_shop) -> Shop:
    """A shop in memory, for what no database decides."""
    return open_shop()
