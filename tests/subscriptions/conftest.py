"""Lives over each storage, each fresh for each test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from life_bench import START, Life

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.testing.clock import FrozenClock

WAITS = Waits(lock=20, pool=30, pool_size=20)


@pytest.fixture
def open_life(open_database) -> Callable[[str], Life]:
    """Open a life on a storage by name."""

    def make(name: str) -> Life:
        return Life() if name == "memory" else Life(open_database(name, FrozenClock(START), waits=WAITS))

    return make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def life(request, open_life) -> Life:
    """A life over each storage."""
    return open_life(request.param)


@pytest.fixture
def memory_life() -> Life:
    """A life in memory, for tables of many rows."""
    return Life()
