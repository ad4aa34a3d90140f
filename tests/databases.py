"""Databases with our tables for tests, and storages over them whose statements were compiled for earlier tests.

A migration, a copy of a PostgreSQL database and the statements of a storage cost a hundred times what a test does with
them. So a worker migrates once, puts rows back where it can, and keeps what SQLAlchemy compiled.
"""

from __future__ import annotations

import copy
import shutil
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.ports.clock import Clock

INSTANCE_ID = bytes(range(1, 9))
"""Of storages in memory."""
WAITS = Waits(lock=10, pool=20, pool_size=60)
_KEPT = 24
_kept: OrderedDict[tuple[str, Waits], SqlAlchemyStorage] = OrderedDict()


def open_sql(url: str, clock: Clock | None = None, *, waits: Waits = WAITS) -> SqlAlchemyStorage:
    """Open a storage like ``SqlAlchemyStorage.open``, with the statements of an earlier one over the same url.

    Its engine listens on its own, but shares the pool: a test that listens to connections opens one of its own.
    """
    first = _kept.get((url, waits))
    if first is None:
        first = _kept[url, waits] = SqlAlchemyStorage.open(url, waits=waits)
        if len(_kept) > _KEPT:
            _kept.popitem(last=False)[1].close()
    _kept.move_to_end((url, waits))
    storage = copy.copy(first)
    storage._engine = first._engine.execution_options()
    storage._reading = storage._engine.execution_options(**first._reading.get_execution_options())
    storage._clock = clock
    storage._instance_id = None
    storage._known_hosts = WeakSet()
    return storage


class Databases:
    """Migrated databases: each is one test's for a while, and like new for the next one."""

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self._folder = folder
        self._request = request
        self._files: list[Path] = []
        self._made = 0
        self._template: str | None = None

    @contextmanager
    def lend(self, name: str) -> Iterator[str]:
        """The url of a migrated database, of ``sqlite`` or ``postgres``."""
        if name == "sqlite":
            with self._file() as path:
                yield f"sqlite:///{path}"
        else:
            server = self._request.getfixturevalue("postgres_server")
            with server.database(template=self._postgres_template(server)) as url:
                yield url

    @contextmanager
    def open(self, name: str, clock: Clock, *, waits: Waits = WAITS) -> Iterator[Any]:
        """An empty storage by name: ``memory``, ``sqlite`` or ``postgres``."""
        if name == "memory":
            yield MemoryStorage(clock, instance_id=INSTANCE_ID, lock_timeout=waits.lock)
            return
        with self.lend(name) as url:
            storage = open_sql(url, clock, waits=waits)
            try:
                yield storage
            finally:
                kept = storage._engine.pool.checkedout()
                storage.close()
            assert kept == 0, "a connection was not given back"

    @property
    def sqlite_template(self) -> Path:
        """A migrated file to copy."""
        path = self._folder / "template.db"
        if not path.exists():
            upgrade(f"sqlite:///{path}")
        return path

    @contextmanager
    def _file(self) -> Iterator[Path]:
        if self._files:
            path = self._files.pop()
        else:
            self._made += 1
            path = self._folder / f"billing{self._made}.db"
        for beside in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
        shutil.copyfile(self.sqlite_template, path)
        try:
            yield path
        finally:
            self._files.append(path)

    def _postgres_template(self, server: Any) -> str:
        if self._template is None:
            self._template = server.create()
            upgrade(server.url(self._template))
        return self._template


@pytest.fixture(scope="session")
def databases(request, tmp_path_factory) -> Iterator[Databases]:
    """Lend migrated databases: ``with databases.lend("sqlite") as url``."""
    yield Databases(tmp_path_factory.mktemp("databases"), request)
    while _kept:
        _kept.popitem()[1].close()


@pytest.fixture
def open_database(databases) -> Iterator[Any]:
    """Open empty storages until the end of the test: ``open_database("postgres", clock)``."""
    with ExitStack() as stack:
        yield lambda name, clock, **options: stack.enter_context(databases.open(name, clock, **options))
