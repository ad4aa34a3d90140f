"""Shops over the three storages, each fresh for each test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from engine_shop import START, Shop, Watched, build_shop, stock
from stocked_shops import stocked_shop

from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain

MakeShop = Callable[..., Shop]


@pytest.fixture
def open_storage(open_database) -> Callable[[str, FrozenClock], Any]:
    """Open a fresh storage by name; SQL ones give every connection back at the end."""
    return open_database


@pytest.fixture
def make_shop(open_storage) -> MakeShop:
    """Make a stocked shop: ``make_shop(storage="memory", …)``; other keywords are those of ``stock`` and the chain."""

    def make(
        storage: str = "memory",
        *,
        seed: int = 1,
        chains: Sequence[FakeChain] | None = None,
        extra_lines: Any = None,
        **stocking: Any,
    ) -> Shop:
        if storage != "postgres" and chains is None:
            return stocked_shop(storage, open_storage, seed=seed, extra_lines=extra_lines, **stocking)
        clock = FrozenClock(START)
        inner = Watched(open_storage(storage, clock))
        return stock(build_shop(inner, clock, seed=seed, chains=chains, extra_lines=extra_lines), **stocking)

    return make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def backend(request) -> str:
    """The name of a storage; a test that asks for it runs over each."""
    return request.param


@pytest.fixture
def any_shop(backend, make_shop) -> Callable[..., Shop]:
    """``make_shop`` over each storage."""
    return lambda **options: make_shop(backend, **options)


@pytest.fixture
def shop(any_shop) -> Shop:
    """A stocked shop over each storage."""
    return any_shop()


@pytest.fixture
def memory_shop(make_shop) -> Shop:
    """A stocked shop in memory, for tables of many rows."""
    return make_shop()
