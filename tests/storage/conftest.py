"""The three storages, each fresh for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from attrs import frozen

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.ports.storage import Storage
from evmbilling.testing.clock import FrozenClock

BACKENDS = ("memory",)
PATIENCE = 0.3
"""Seconds that a unit waits for a lock, where a test makes it wait."""


@frozen(kw_only=True)
class Backend:
    """One storage under test.

    Attributes:
        concurrent: whether two units may write at the same time; else the second one waits for the first.

    """

    name: str
    storage: Storage
    clock: FrozenClock
    concurrent: bool


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture(params=BACKENDS)
def backend(request, clock) -> Iterator[Backend]:
    with ExitStack() as stack:
        storage = MemoryStorage(clock, lock_timeout=PATIENCE)
        stack.callback(storage.close)
        yield Backend(name=request.param, storage=storage, clock=clock, concurrent=False)


@pytest.fixture
def storage(backend) -> Storage:
    return backend.storage
