"""What a storage's author gives, and what every class of storage checks has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from evmbilling.ports.storage import Storage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance.base import Kit, not_given

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
SAID_BY_STORAGE = frozenset({"host_transaction", "many_processes"})
"""Capabilities that a storage itself answers for."""


class StorageKit(Kit):
    """Fixtures of the storage kit.

    Give ``new_storage``. With the capabilities that need them, give ``reopen``, ``host``, ``broken_call`` and
    ``connections_in_use`` too.
    """

    port = Storage  # a Protocol stands for its contract here
    known: ClassVar[Mapping[str, str]] = {
        "concurrent_writers": "two units write at the same time; without it the second waits for the first",
        "host_transaction": "`join` works on the host's connection (fixture `host`)",
        "many_processes": "several processes use one database (fixture `reopen`)",
        "breakable": "a test can make the n-th call to the database fail (fixture `broken_call`)",
        "pool": "connections can be counted (method `connections_in_use`)",
    }

    @pytest.fixture
    def clock(self) -> FrozenClock:
        """The clock to inject into the storage."""
        return FrozenClock(START)

    @pytest.fixture
    def new_storage(self) -> Callable[[], Storage]:
        """Make an empty storage at each call, on the fixture ``clock``; an older one need not work any more.

        A storage that waits for locks should wait for less than a second: several tests run into that limit.
        """
        not_given("the fixture new_storage: a callable that returns an empty storage")

    @pytest.fixture
    def storage(self, new_storage: Callable[[], Storage]) -> Iterator[Storage]:
        """Lend the storage under test, and look for connections that were kept."""
        made = new_storage()
        yield made
        if "pool" in self.capabilities:
            assert self.connections_in_use(made) == 0, "a connection was not given back to the pool"

    @pytest.fixture
    def reopen(self) -> Callable[[], Storage]:
        """What opens the database of ``storage`` in another process: picklable, e.g. ``partial(open_it, path)``."""
        not_given("the fixture reopen: a picklable callable that opens the same database")

    @pytest.fixture
    def host(self) -> Any:
        """A host's own transaction on the database of ``storage``.

        It is an :class:`evmbilling.testing.conformance.storage.host.HostTransaction`.
        """
        not_given("the fixture host: a HostTransaction on the same database")

    @pytest.fixture
    def broken_call(self) -> Any:
        """A context manager ``broken_call(n)`` within which the n-th call to the database fails, counted from 1.

        It yields an object whose ``met`` says whether there was such a call.
        """
        not_given("the fixture broken_call: a context manager in which the n-th call fails")

    def connections_in_use(self, storage: Storage) -> int:
        """Return how many connections a storage has not given back."""
        not_given("the method connections_in_use")

    @property
    def concurrent_writers(self) -> bool:
        """Whether two units may write at the same time; else the second one waits for the first."""
        return "concurrent_writers" in self.capabilities
