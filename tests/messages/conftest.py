"""A message bench over each storage, and shops for flows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "engine"))

from engine_shop import START, Shop, build_shop, stock
from messages_bench import Bench, make_bench

from evmbilling.testing.clock import FrozenClock


@pytest.fixture
def fresh_url(databases) -> Iterator[Callable[[str], str]]:
    """Make a fresh database by name and return its url."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(databases.lend(name))


@pytest.fixture
def open_storage(open_database) -> Callable[[str, FrozenClock], Any]:
    """Open a fresh storage by name."""
    return open_database


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def backend(request) -> str:
    """The name of a storage; a test that asks for it runs over each."""
    return request.param


@pytest.fixture
def make_any(backend, open_storage) -> Callable[..., Bench]:
    """Make a bench over each storage; keywords are those of ``make_bench``."""

    def make(**options: Any) -> Bench:
        clock = FrozenClock(START)
        return make_bench(open_storage(backend, clock), clock, **options)

    return make


@pytest.fixture
def make_memory(open_storage) -> Callable[..., Bench]:
    """Make a bench in memory."""

    def make(**options: Any) -> Bench:
        clock = FrozenClock(START)
        return make_bench(open_storage("memory", clock), clock, **options)

    return make


@pytest.fixture
def shop(open_storage) -> Shop:
    """A stocked shop in memory."""
    clock = FrozenClock(START)
    return stock(build_shop(open_storage("memory", clock), clock))
