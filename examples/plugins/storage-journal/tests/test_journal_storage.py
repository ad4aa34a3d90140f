"""The storage passes the kit, found by its entry point."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from journal_storage import JournalStorage
from journal_storage.file import JournalFile

from evmbilling.plugins import PluginManager
from evmbilling.ports.storage import Storage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance import StorageConformance

LOCK_TIMEOUT = 0.4
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def reopened(path: str) -> JournalStorage:
    return JournalStorage(path, FrozenClock(NOON), lock_timeout=LOCK_TIMEOUT)


@cache
def loaded() -> PluginManager:
    """Find the plugin once: looking through everything that is installed takes longer than a test."""
    manager = PluginManager()
    manager.load(["journal_storage"])
    return manager


class TestJournalStorage(StorageConformance):
    capabilities = frozenset({"breakable", "many_processes", "pool"})

    @pytest.fixture
    def made(self) -> list[str]:
        return []

    @pytest.fixture
    def new_storage(self, tmp_path: Path, clock: FrozenClock, made: list[str]) -> Callable[[], Storage]:
        manager, numbers = loaded(), itertools.count()

        def make() -> Storage:
            made.append(str(tmp_path / f"{next(numbers)}.db"))
            return manager.storages.build("journal", {"path": made[-1], "lock_timeout": LOCK_TIMEOUT}, clock=clock)

        return make

    @pytest.fixture
    def reopen(self, storage: Storage, made: list[str]) -> Callable[[], Storage]:
        return partial(reopened, made[-1])

    @pytest.fixture
    def broken_call(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[SimpleNamespace]]:
        @contextmanager
        def broken(number: int) -> Iterator[SimpleNamespace]:
            fault = SimpleNamespace(met=False)
            calls = itertools.count(1)
            really = JournalFile.run

            def run(*arguments: Any) -> Any:
                if next(calls) == number:
                    fault.met = True
                    raise sqlite3.OperationalError("disk I/O error")
                return really(*arguments)

            with monkeypatch.context() as patch:
                patch.setattr(JournalFile, "run", run)
                yield fault

        return broken

    def connections_in_use(self, storage: Storage) -> int:
        assert isinstance(storage, JournalStorage)
        return storage.connections
