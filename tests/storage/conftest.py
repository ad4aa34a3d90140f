"""The three storages, each fresh for each test, and each looked at afterwards for connections that were kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import psycopg
import pytest
from attrs import frozen
from prefixed import PREFIX

from databases import make_sqlite
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.ports.storage import Storage
from evmbilling.testing.clock import FrozenClock

WAITS = Waits(lock=0.4, pool=2, pool_size=10)
"""Locks, and turns of the one writer of SQLite, are waited for in several tests, and each of them should be short."""
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


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


@pytest.fixture(scope="session")
def lasting_clock() -> FrozenClock:
    """The clock of the storages below, which live as long as the session: their statements are compiled once."""
    return FrozenClock(START)


@pytest.fixture
def clock(lasting_clock) -> FrozenClock:
    lasting_clock.set(START)
    return lasting_clock


@contextmanager
def open_sql(url: str, clock: FrozenClock) -> Iterator[SqlAlchemyStorage]:
    """Open a database of ours."""
    storage = SqlAlchemyStorage.open(url, prefix=PREFIX, clock=clock, waits=WAITS)
    yield storage
    storage.close()


@contextmanager
def giving_back(storage: SqlAlchemyStorage) -> Iterator[SqlAlchemyStorage]:
    """Find every connection back in the pool at the end."""
    yield storage
    assert storage._engine.pool.checkedout() == 0


@frozen(kw_only=True)
class Database:
    """A database that lives as long as the session.

    Attributes:
        empty: makes it as it was after the migration.

    """

    url: str
    storage: SqlAlchemyStorage
    empty: Callable[[], object]


@pytest.fixture(scope="session")
def sqlite_database(tmp_path_factory, lasting_clock) -> Iterator[Database]:
    folder = tmp_path_factory.mktemp("sqlite")
    template, path = folder / "template.db", folder / "billing.db"
    if PREFIX == DEFAULT_PREFIX:
        make_sqlite(template)
    else:
        upgrade(f"sqlite:///{template}", prefix=PREFIX)

    def empty() -> None:
        with closing(sqlite3.connect(template)) as source, closing(sqlite3.connect(path)) as target:
            source.backup(target)

    url = f"sqlite:///{path}"
    with open_sql(url, lasting_clock) as storage:
        yield Database(url=url, storage=storage, empty=empty)


@pytest.fixture(scope="session")
def postgres_database(postgres_server, databases, lasting_clock) -> Iterator[Database]:
    ours = PREFIX == DEFAULT_PREFIX
    with databases.lend("postgres") if ours else postgres_server.database() as url:
        if not ours:
            upgrade(url, prefix=PREFIX)
        plain = url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(plain, autocommit=True) as keeper, open_sql(url, lasting_clock) as storage:
            keeper.execute("SET session_replication_role = replica")  # foreign keys look away
            keeper.execute("SET lock_timeout = 5000")
            yield Database(url=url, storage=storage, empty=_emptying(keeper))


def _emptying(keeper: psycopg.Connection) -> Callable[[], None]:
    """Return what empties the tables that hold rows, and for that long changes what makes some of them append-only.

    The tables are left alone, and so are the triggers: a table that was altered is planned for anew by everybody.
    """
    kept = {f"{PREFIX}instance", f"{PREFIX}alembic_version"}
    found = keeper.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    look = " UNION ALL ".join(f"SELECT '{n}' WHERE EXISTS (SELECT FROM {n})" for (n,) in found if n not in kept)
    (guarding,) = keeper.execute(f"SELECT pg_get_functiondef('{PREFIX}append_only'::regproc)").fetchone()
    letting = guarding.replace("RAISE EXCEPTION USING", "RETURN OLD; RAISE EXCEPTION USING")
    assert letting != guarding

    def empty() -> None:
        filled = [name for (name,) in keeper.execute(look).fetchall()]
        if filled:
            emptying = (f"DELETE FROM {name}" for name in filled)
            keeper.execute("; ".join(["BEGIN", letting, *emptying, guarding, "COMMIT"]))

    return empty


@pytest.fixture
def sqlite_storage(sqlite_database, clock) -> Iterator[SqlAlchemyStorage]:
    """Storage in an empty SQLite file."""
    sqlite_database.empty()
    with giving_back(sqlite_database.storage):
        yield sqlite_database.storage


@pytest.fixture
def postgres_storage(postgres_database, clock) -> Iterator[SqlAlchemyStorage]:
    """Storage in an empty PostgreSQL database."""
    postgres_database.empty()
    with giving_back(postgres_database.storage):
        yield postgres_database.storage


@pytest.fixture
def memory_storage(clock) -> MemoryStorage:
    """Storage in memory."""
    return MemoryStorage(clock, lock_timeout=WAITS.lock)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def backend(request, clock) -> Backend:
    storage = request.getfixturevalue(f"{request.param}_storage")
    return Backend(name=request.param, storage=storage, clock=clock, concurrent=request.param == "postgres")


@pytest.fixture
def storage(backend) -> Storage:
    return backend.storage
