"""Databases with our tables for tests, and storages over them whose statements were compiled for earlier tests.

A migration, a copy of a PostgreSQL database and the statements of a storage cost a hundred times what a test does with
them. So a worker migrates once, puts rows back where it can, and keeps what SQLAlchemy compiled.
"""

from __future__ import annotations

import copy
import shutil
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits, open_engine
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX, Names
from evmbilling.adapters.sqlalchemy.storage import _READING, SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.turns import Turns
from evmbilling.ports.clock import Clock

INSTANCE_ID = bytes(range(1, 9))
"""Of storages in memory."""
WAITS = Waits(lock=10, pool=20, pool_size=60)
_KEPT = 24
_WARM = 4
"""So many connections to PostgreSQL rest in a pool until its database is lent again."""
_Kept = tuple[str, str, str | None, Waits]
_kept: OrderedDict[_Kept, SqlAlchemyStorage] = OrderedDict()


def open_sql(
    url: str,
    clock: Clock | None = None,
    *,
    waits: Waits = WAITS,
    prefix: str = DEFAULT_PREFIX,
    schema: str | None = None,
) -> SqlAlchemyStorage:
    """Open a storage like ``SqlAlchemyStorage.open``, with the statements of an earlier one.

    Those of the same url are compiled already. Its engine listens on its own, but shares the pool: a test that listens
    to connections opens one of its own.
    """
    key = (url, prefix, schema, waits)
    if key not in _kept:
        _kept[key] = _first(url, waits, prefix, schema)
        if len(_kept) > _KEPT:
            _kept.popitem(last=False)[1].close()
    _kept.move_to_end(key)
    return _over(_kept[key], _kept[key]._engine.execution_options(), clock, waits)


def _first(url: str, waits: Waits, prefix: str, schema: str | None) -> SqlAlchemyStorage:
    """Open a storage over a url for the first time; the statements for such a database may have been built before."""
    names = Names(prefix=prefix, schema=schema)
    engine = open_engine(url, waits=waits)
    for other in _kept.values():
        if (other._statements.names, other._statements.dialect) == (names, engine.dialect.name):
            return _over(other, engine, None, waits)
    engine.dispose()
    return SqlAlchemyStorage.open(url, waits=waits, prefix=prefix, schema=schema)


def _over(other: SqlAlchemyStorage, engine: Engine, clock: Clock | None, waits: Waits) -> SqlAlchemyStorage:
    """Return a storage with the statements of another one and nothing else of it."""
    storage = copy.copy(other)
    storage._engine = engine
    storage._reading = engine.execution_options(**_READING[engine.dialect.name])
    storage._clock = clock
    storage._waits = waits
    storage._instance_id = None
    storage._turns = Turns() if engine.dialect.name == "sqlite" else None
    return storage


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder, "migrated.db")
        upgrade(f"sqlite:///{path}")
        return path.read_bytes()


def make_sqlite(path: Path) -> str:
    """Make a migrated SQLite file, a copy of the first one of this process, and return its url."""
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


def migrate_in_memory(engine: Engine) -> None:
    """Give an SQLite database in memory our tables: its one connection takes those of a migrated file."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "migrated.db")
        make_sqlite(path)
        with closing(sqlite3.connect(path)) as migrated, engine.connect() as connection:
            migrated.execute("PRAGMA journal_mode = DELETE")  # memory has no write-ahead log
            migrated.backup(connection.connection.driver_connection)


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
            with server.database(template=self.postgres_template(server)) as url:
                yield url

    @contextmanager
    def open(self, name: str, clock: Clock | None, *, waits: Waits = WAITS) -> Iterator[Any]:
        """An empty storage by name: ``memory``, ``sqlite`` or ``postgres``."""
        if name == "memory":
            yield MemoryStorage(clock, instance_id=INSTANCE_ID, lock_timeout=waits.lock)
            return
        with self.lend(name) as url:
            storage = open_sql(url, clock, waits=waits)
            try:
                yield storage
            finally:
                kept = let_go(storage)
            assert kept == 0, "a connection was not given back"

    @property
    def sqlite_template(self) -> Path:
        """A migrated file to copy."""
        path = self._folder / "template.db"
        if not path.exists():
            make_sqlite(path)
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

    def postgres_template(self, server: Any) -> str:
        """The name of a migrated database to copy."""
        if self._template is None:
            server._pooled = resting
            self._template = server.create()
            upgrade(server.url(self._template))
        return self._template


def resting(name: str) -> list[int]:
    """Return the server's process ids of the connections that rest in our pools for a PostgreSQL database."""
    pools = [kept._engine.pool for kept in _kept.values() if kept._engine.url.database == name]
    records = [record for pool in pools if hasattr(pool, "_pool") for record in list(pool._pool.queue)]
    return [record.dbapi_connection.info.backend_pid for record in records if record.dbapi_connection is not None]


def let_go(storage: SqlAlchemyStorage) -> int:
    """End the use of a storage; return how many of its connections were not given back.

    A few to PostgreSQL rest in its pool, for the next test with the same database.
    """
    pool = storage._engine.pool
    kept = pool.checkedout()
    if storage._engine.dialect.name == "sqlite" or kept or pool.checkedin() > _WARM:
        storage.close()
    return kept


def close_kept() -> None:
    """Let go of every database that is kept."""
    while _kept:
        _kept.popitem()[1].close()
