"""A merchant that pulls, on each chain and over each storage."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "mandates"))

from charge_bench import START, ChargeBench, OnAnvil, OnFake

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.testing.clock import FrozenClock

OpenBench = Callable[..., ChargeBench]


@pytest.fixture
def open_bench(request, open_database) -> Iterator[OpenBench]:
    """Open a bench by the names of its chain and its storage."""
    with ExitStack() as stack:

        def make(chain: str = "fake", storage: str = "memory", **how) -> ChargeBench:
            def open_storage(clock):
                return MemoryStorage(clock) if storage == "memory" else open_database(storage, clock)

            if chain == "anvil":
                made: ChargeBench = OnAnvil(request.getfixturevalue("anvil"), open_storage)
            else:
                made = OnFake(open_storage(FrozenClock(START)), **how)
            stack.callback(made.engine.close)
            return made

        yield make


@pytest.fixture(params=["fake", "anvil"])
def bench(request, open_bench) -> ChargeBench:
    """On each chain."""
    return open_bench(request.param, "memory" if request.param == "fake" else "sqlite")


@pytest.fixture
def simple(open_bench) -> OnFake:
    """On the fake chain, in memory: for what neither can change."""
    return open_bench()
