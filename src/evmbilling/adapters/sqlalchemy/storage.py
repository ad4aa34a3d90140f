"""The storage port over SQLAlchemy Core."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Self, cast
from weakref import WeakSet

from sqlalchemy.engine import Connection

from evmbilling.adapters.sqlalchemy.engines import Waits, is_in_memory, open_engine
from evmbilling.adapters.sqlalchemy.joining import HostConnection, connection_of, savepoint
from evmbilling.adapters.sqlalchemy.log_copying import LogCopier
from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX, Names
from evmbilling.adapters.sqlalchemy.plain import PlainTransaction
from evmbilling.adapters.sqlalchemy.pragmas import BEGIN_OPTION
from evmbilling.adapters.sqlalchemy.rows.chain import read_lease
from evmbilling.adapters.sqlalchemy.statements import Statements
from evmbilling.adapters.sqlalchemy.straight import may_go_straight
from evmbilling.adapters.sqlalchemy.turns import Turns
from evmbilling.adapters.sqlalchemy.unit import SqlUnit
from evmbilling.adapters.sqlalchemy.writing.evidence import ready_logs
from evmbilling.adapters.sqlalchemy.writing.leases import database_now, give_lease_back, take_lease
from evmbilling.errors import ConfigurationError, HostTransactionError, InputError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy.engine import URL, Engine
    from sqlalchemy.pool import Pool

    from evmbilling.domain.reading.evidence import ChainLog, Lease
    from evmbilling.ports.clock import Clock
    from evmbilling.ports.storage import JoinedStorage


class SqlAlchemyStorage:
    """Implements :class:`evmbilling.ports.storage.Storage` on SQLite and PostgreSQL.

    Args:
        engine: a synchronous engine; see :meth:`open` for one of our own.
        prefix: stands before the name of every table.
        schema: a PostgreSQL schema, or a database attached to SQLite.
        clock: in tests, the time of ``now()`` and of leases; the database's own clock when absent.
        waits: how long anything may wait.

    Raises:
        ConfigurationError: an asynchronous engine, or another database.

    """

    def __init__(
        self,
        engine: Engine,
        *,
        prefix: str = DEFAULT_PREFIX,
        schema: str | None = None,
        clock: Clock | None = None,
        waits: Waits | None = None,
    ) -> None:
        if engine.dialect.name not in {"sqlite", "postgresql"} or engine.dialect.is_async:
            raise ConfigurationError("storage runs on a synchronous engine of sqlite or postgresql", field="engine")
        self._engine = engine
        self._clock = clock
        self._waits = waits or Waits()
        self._statements = Statements(Names(prefix=prefix, schema=schema), engine.dialect.name)
        self._reading = engine.execution_options(**_READING[engine.dialect.name])
        self._owned = False
        self._instance_id: bytes | None = None
        self._turns = Turns() if engine.dialect.name == "sqlite" else None
        self._copier = LogCopier(engine) if self._turns is not None and not is_in_memory(engine.url) else None

    @classmethod
    def open(
        cls,
        url: str | URL,
        *,
        prefix: str = DEFAULT_PREFIX,
        schema: str | None = None,
        clock: Clock | None = None,
        waits: Waits | None = None,
    ) -> Self:
        """Open a database by its url; ``close`` lets go of it. Nothing is connected yet.

        A process that is forked afterwards opens connections of its own.
        """
        storage = cls(open_engine(url, waits=waits), prefix=prefix, schema=schema, clock=clock, waits=waits)
        storage._owned = True
        _OPENED.add(storage)
        return storage

    @property
    def capabilities(self) -> frozenset[str]:
        """A host can join, and many processes can work at once."""
        return frozenset({"host_transaction", "many_processes"})

    @contextmanager
    def unit(self, *, write: bool = True, durable: bool = True) -> Iterator[SqlUnit]:
        """Open a transaction on a connection of our own; commits at the end, rolls back when it raises.

        A unit that only reads sees one state of the database, and on SQLite keeps no writer waiting. What one that is
        not durable commits is on the disk with the next durable one, because both databases write a log in order.
        """
        if self._instance_id is None:
            self.instance_id()  # whoever asks inside would need a second connection, which others may wait for too
        turn = self._turn(write=write)
        with self._statements.failures(), turn, self._begun(write=write, durable=durable) as connection:
            unit = SqlUnit(connection, self._statements, write=write)
            try:
                yield unit
                unit.finish()
            finally:
                unit.end()
        if not durable and self._copier is not None:
            self._copier.begin()  # while more is read, and not at a commit, which would wait for it

    def prepare(self, logs: Sequence[ChainLog]) -> Sequence[ChainLog]:
        """Return the same logs; many of them with their rows, which a unit then only sends."""
        if not may_go_straight(self._engine):
            return logs
        return ready_logs(self._statements, self._engine.dialect, logs)

    @contextmanager
    def join(self, host: object) -> Iterator[JoinedStorage]:
        """Join the host's transaction on its connection or session; never commits it.

        Whose tables the connection leads to, units look for themselves.

        Raises:
            HostTransactionError: the connection is in AUTOCOMMIT, or cannot be used.
            SchemaError: our own database has no tables.

        """
        self._own_instance_id(self._host_connection(host))
        yield _Joined(self, host)

    @contextmanager
    def joined_unit(self, host: object) -> Iterator[SqlUnit]:
        """Open a savepoint on the host's connection.

        Raises:
            HostTransactionError: also from what is asked of the unit: the tables there are another instance's.

        """
        connection = self._host_connection(host)
        with self._statements.failures(), savepoint(connection):
            hosted, wait = self._hosted(connection), self._waits.lock
            unit = SqlUnit(hosted, self._statements, write=True, host_lock_timeout=wait)
            try:
                yield unit
                unit.finish()
            finally:
                unit.end()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Open a transaction that writes; on SQLite when its turn has come."""
        with self._turn(write=True), self._begun(write=True) as connection:
            yield connection

    def _turn(self, *, write: bool) -> AbstractContextManager[None]:
        return self._turns.taken(self._waits.pool) if write and self._turns is not None else _NO_TURN

    def _begun(self, *, write: bool, durable: bool = True) -> AbstractContextManager[Connection]:
        if self._statements.dialect == "sqlite":
            return PlainTransaction(self._engine, "IMMEDIATE" if write else "DEFERRED", durable=durable)
        if not durable:
            return self._begun_in_haste()
        return self._engine.begin() if write else self._reading.begin()

    @contextmanager
    def _begun_in_haste(self) -> Iterator[Connection]:
        """Open a transaction whose commit does not wait for the disk (PostgreSQL)."""
        with self._engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection

    def now(self) -> datetime:
        """Return the database's clock, or the injected one."""
        if self._clock is not None:
            return self._clock.now()
        with self._statements.failures(), self._reading.begin() as connection:
            return database_now(connection, self._statements.leases, None)

    def instance_id(self) -> bytes:
        """Return the 8 random bytes that the first migration made.

        Raises:
            SchemaError: the tables are not there.

        """
        if self._instance_id is None:
            with self._statements.failures(), self._reading.begin() as connection:
                self._instance_id = self._read_instance_id(connection)
        return self._instance_id

    def acquire_lease(self, name: str, owner: str, seconds: int) -> Lease | None:
        """Take or renew a lease by the database's clock; None while another owner holds it."""
        statements = self._statements.leases
        with self._statements.failures(), self._writing() as connection:
            now = database_now(connection, statements, self._clock)
            return take_lease(connection, statements, name=name, owner=owner, now=now, seconds=seconds)

    def leases(self) -> Sequence[Lease]:
        """Return every lease that was ever taken, by name."""
        with self._statements.failures(), self._reading.begin() as connection:
            return [read_lease(row) for row in connection.execute(self._statements.leases.all)]

    def release_lease(self, lease: Lease) -> None:
        """Give a lease back if it is still ours."""
        statements = self._statements.leases
        with self._statements.failures(), self._writing() as connection:
            give_lease_back(connection, statements, lease, database_now(connection, statements, self._clock))

    def prune(self, table: str, before: datetime, limit: int) -> int:
        """Remove up to ``limit`` erasable rows of a table that ended before an instant; return how many.

        Raises:
            InputError: rows of this table never go, or the instant carries no time zone.

        """
        statement = self._statements.pruning.get(table)
        if statement is None:
            raise InputError(f"rows of {table} are kept", field="table")
        if before.utcoffset() is None:
            raise InputError("an instant carries its time zone", field="before")
        with self._statements.failures(), self._writing() as connection:
            return connection.execute(statement, {"before": before, "most": max(limit, 0)}).rowcount

    def close(self) -> None:
        """Let go of what we opened; an engine that was given to us stays open."""
        if self._copier is not None:
            self._copier.close()
        if self._owned:
            self._engine.dispose()

    def _begin_anew(self) -> None:
        """Leave the parent's connections to it, in a process that was forked; its own are opened when they are needed.

        They are not even closed here: PostgreSQL would end the parent's session, SQLite lose the parent's locks.
        """
        if self._turns is not None:
            self._turns = Turns()
        if not is_in_memory(self._engine.url):
            _OF_THE_PARENT.append(self._engine.pool)
            self._engine.dispose(close=False)

    def _host_connection(self, host: object) -> Connection:
        with self._statements.failures():
            connection = connection_of(host)
        if connection.dialect.name != self._statements.dialect:
            raise HostTransactionError(
                f"the connection is of {connection.dialect.name}, the storage of {self._statements.dialect}"
            )
        return connection

    def _own_instance_id(self, host: Connection) -> bytes:
        """Return which instance is ours, and ask our own engine for it: the host's connection may lead anywhere."""
        if self._instance_id is None and host.engine.pool is self._engine.pool:
            self._instance_id = self._asked_beside(host)
        return self.instance_id()

    def _asked_beside(self, host: Connection) -> bytes:
        """Ask while the host has a connection of our own pool, which may be the only one.

        On PostgreSQL on another one, because the host may have set this one to other schemas. On SQLite the connection
        is the database, and a database in memory has no other.
        """
        if self._statements.dialect == "sqlite":
            with self._statements.failures(), savepoint(host):
                return self._read_instance_id(host)
        beside = self._engine.pool.recreate()
        try:
            with self._statements.failures(), Connection(self._reading, connection=beside.connect()) as connection:
                return self._read_instance_id(connection)
        finally:
            beside.dispose()

    def _hosted(self, connection: Connection) -> Connection:
        """Return a host's connection for our statements: it takes them as a connection does."""
        hosted = HostConnection(
            connection,
            self._statements.host,
            expected=self._own_instance_id(connection),
            schemas=self._engine.get_execution_options().get("schema_translate_map"),
        )
        return cast("Connection", hosted)

    def _read_instance_id(self, connection: Connection) -> bytes:
        found: bytes | None = connection.execute(self._statements.instance_id).scalar_one_or_none()
        if found is None:
            raise SchemaError
        return found


def _forked() -> None:
    """Have every storage that we opened begin anew in a process that was forked."""
    for storage in list(_OPENED):
        storage._begin_anew()  # noqa: SLF001  - of the same module


class _Joined:
    """Implements :class:`evmbilling.ports.storage.JoinedStorage`."""

    def __init__(self, storage: SqlAlchemyStorage, host: object) -> None:
        self._storage = storage
        self._host = host

    @contextmanager
    def unit(self) -> Iterator[SqlUnit]:
        """Open a savepoint: committed with the host's transaction, undone alone when it raises."""
        with self._storage.joined_unit(self._host) as unit:
            yield unit


_NO_TURN: AbstractContextManager[None] = nullcontext()
_READING: dict[str, dict[str, Any]] = {
    "sqlite": {BEGIN_OPTION: "DEFERRED"},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
_OPENED: WeakSet[SqlAlchemyStorage] = WeakSet()
_OF_THE_PARENT: list[Pool] = []
"""Kept, because a connection that nobody keeps is closed."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
