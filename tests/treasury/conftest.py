"""Merchants that take plain transfers, over the three storages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from till import START, Till, open_till

from evmbilling.testing.clock import FrozenClock

OpenTill = Callable[..., Till]


@pytest.fixture
def open_any(open_database) -> OpenTill:
    """Open a till over a storage by name: ``open_any("sqlite", …)``; other keywords are the till's."""

    def open_(name: str, **options: Any) -> Till:
        clock = FrozenClock(START)
        return open_till(open_database(name, clock), clock, **options)

    return open_


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_till(request, open_any) -> OpenTill:
    """Open a till over each storage."""
    return lambda **options: open_any(request.param, **options)


@pytest.fixture
def till(make_till) -> Till:
    """A till with the default policy, over each storage."""
    return make_till()


@pytest.fixture
def memory_till(open_any) -> OpenTill:
    """Open tills in memory, for tables of many rows."""
    return lambda **options: open_any("memory", **options)
