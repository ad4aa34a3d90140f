"""Joining a transaction that the host began: its connection, its commit, its rollback; never ours.

The rules, and why they stand, are in ``docs/explanation/storage.md``.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session, scoped_session

from evmbilling.adapters.sqlalchemy.engines import milliseconds
from evmbilling.errors import HostTransactionError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Iterator

ASYNC_HINT = "this is the asynchronous side: use `await session.run_sync(lambda sync: …)` and join what it hands over"
ANOTHER_DATABASE = "the connection leads to another database than the storage's, or to other tables (search_path)"
AUTOCOMMIT_HINT = "the connection is in AUTOCOMMIT: what we write could not be rolled back with what you write"

_give_lock_timeout = sa.select(sa.func.set_config("lock_timeout", sa.bindparam("before", type_=sa.Text), sa.true()))
_SEEN = "evmbilling_instances"
"""Note on a host's connection: whose tables it leads to."""
_CURSORS: dict[str, Any] = {"stream_results": False, "yield_per": None}
_PLAIN_OPTIONS = {**_CURSORS, "no_parameters": False}
_begin_immediate = sa.text("BEGIN IMMEDIATE")


def connection_of(target: object) -> Connection:
    """Return the connection behind what a host joins with, inside its transaction.

    Args:
        target: a ``Connection``, a ``Session`` or a ``scoped_session``; inside ``run_sync`` the synchronous side of an
            ``AsyncConnection`` or ``AsyncSession``. A session is not flushed.

    Raises:
        HostTransactionError: anything else, a closed connection, a failed transaction, or AUTOCOMMIT.

    """
    try:
        connection = _resolve(target)
        if connection.closed:
            raise HostTransactionError("the connection is closed")
        _refuse_autocommit_option(connection)
        if not connection.in_transaction():
            connection.begin()
        _enter_driver_transaction(connection)
        _refuse_other_values(connection)
    except exc.PendingRollbackError as error:
        raise HostTransactionError("the host's transaction has already failed; roll it back") from error
    except (exc.UnboundExecutionError, exc.InvalidRequestError) as error:
        raise HostTransactionError(f"the session cannot give a connection: {error}") from error
    return connection


def _resolve(target: object) -> Connection:
    if isinstance(target, scoped_session):
        target = target()
    if isinstance(target, Session):
        return target.connection()
    if isinstance(target, Connection):
        return target
    if hasattr(target, "run_sync"):
        raise HostTransactionError(ASYNC_HINT)
    raise HostTransactionError(f"join a SQLAlchemy Connection or Session, not {type(target).__name__}")


def _refuse_autocommit_option(connection: Connection) -> None:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        raise HostTransactionError(AUTOCOMMIT_HINT)


def _enter_driver_transaction(connection: Connection) -> None:
    """Refuse a driver that commits by itself; on SQLite open the transaction that the default mode does not open."""
    dbapi: Any = connection.connection.dbapi_connection
    detected = connection.dialect.detect_autocommit_setting(dbapi)
    if connection.dialect.name != "sqlite":
        if detected:
            raise HostTransactionError(AUTOCOMMIT_HINT)
        return
    driver = _driver_of(connection)
    if driver.in_transaction and getattr(driver, "autocommit", None) is not True:
        return
    # A driver with isolation_level None and no transaction after the host's BEGIN hooks have run commits by itself.
    if detected or getattr(driver, "autocommit", None) is True:
        raise HostTransactionError(AUTOCOMMIT_HINT)
    connection.execute(_begin_immediate)


def _driver_of(connection: Connection) -> Any:
    """Return the driver's own connection, also of one that was taken out of its pool and has no record there."""
    dbapi: Any = connection.connection.dbapi_connection
    return connection.dialect.get_driver_connection(dbapi)


def _refuse_other_values(connection: Connection) -> None:
    """Refuse a driver that was told to answer with other values than our columns read; asks the server nothing."""
    driver = _driver_of(connection)
    if connection.dialect.name == "sqlite":
        if driver.text_factory is not str:
            raise HostTransactionError("the connection does not answer with text (text_factory)")
        return
    status = getattr(getattr(driver, "info", None), "parameter_status", None)
    if status is None:  # asyncpg speaks binary, whatever the session has set
        return
    if not str(status("DateStyle") or "ISO").startswith("ISO"):
        raise HostTransactionError("the connection writes dates in another way than ISO (DateStyle)")
    if status("client_encoding") == "SQL_ASCII":
        raise HostTransactionError("the connection does not say what its texts are encoded in (client_encoding)")


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Run a call in a savepoint of the connection: a typed error of ours leaves the host's transaction usable.

    The session's own ``begin_nested`` would flush and expire the host's objects.
    """
    with _without_server_side_cursors(connection):
        nested = connection.begin_nested()
    try:
        yield
    except BaseException:
        # When SQLite or the server has already ended the transaction there is no savepoint left; the first error tells.
        with suppress(exc.DBAPIError, exc.InvalidRequestError), _without_server_side_cursors(connection):
            nested.rollback()
        raise
    with _without_server_side_cursors(connection):
        nested.commit()


@contextmanager
def _without_server_side_cursors(connection: Connection) -> Iterator[None]:
    """Have no cursor declared for SAVEPOINT, which takes no options of its own."""
    options = connection.get_execution_options()
    given: dict[str, Any] = {name: options[name] for name in _CURSORS if options.get(name)}
    if not given:
        yield
        return
    connection.execution_options(**{name: _CURSORS[name] for name in given})
    try:
        yield
    finally:
        connection.execution_options(**given)


class HostStatements:
    """What is asked on a host's connection besides a unit's own statements; built once per prefix and schema.

    Args:
        identity: reads which instance the tables are of.
        take_write_lock: makes a transaction on SQLite the one that writes.

    """

    def __init__(self, identity: sa.Select[tuple[bytes]], take_write_lock: sa.Update) -> None:
        self.identity = identity
        self.take_write_lock = take_write_lock
        self.take_lock_timeout = sa.select(
            sa.func.current_setting("lock_timeout"),
            sa.func.set_config("lock_timeout", sa.bindparam("wanted", type_=sa.Text), sa.true()),
            identity.scalar_subquery(),
        )


class HostConnection:
    """A host's connection as our statements use it, for one unit.

    What the host set for its own statements (server-side cursors, batches of rows, other schemas) is not for ours. On
    PostgreSQL the name of a table leads where ``search_path`` says at that moment, so each unit looks where that is:
    with the statement that bounds its waits, or with one of its own when it only reads. A connection of SQLite stays
    with its file, and is looked at once.

    Args:
        connection: inside the host's transaction.
        statements: what is asked besides the unit's own.
        expected: the instance that the storage is of.
        schemas: ``schema_translate_map`` of the storage's own engine.

    """

    def __init__(
        self, connection: Connection, statements: HostStatements, *, expected: bytes, schemas: Any = None
    ) -> None:
        self.dialect = connection.dialect
        self._connection = connection
        self._statements = statements
        self._expected = expected
        self._options = {**_PLAIN_OPTIONS, "schema_translate_map": schemas}
        self._seen: set[object] | None = None
        if connection.dialect.name == "sqlite":
            self._seen = connection.info.setdefault(_SEEN, set())
        self._known = self._seen is not None and (statements, expected) in self._seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Execute a statement of ours.

        Raises:
            HostTransactionError: the tables here are another instance's.

        """
        if self._known:
            return self._execute(statement, parameters)
        # On SQLite a read must not come before the write lock, which would then be refused at once.
        locked = self._execute(statement) if statement is self._statements.take_write_lock else None
        self._compare(self._execute(self._statements.identity).scalar_one_or_none())
        return locked or self._execute(statement, parameters)

    def take_lock_timeout(self, seconds: float) -> str:
        """Bound the waits, and look whose tables these are, in one round trip; return the host's own setting."""
        wanted = {"wanted": f"{milliseconds(seconds)}ms"}
        before, _, found = self._execute(self._statements.take_lock_timeout, wanted).one()
        self._compare(found)
        return str(before)

    def _compare(self, found: bytes | None) -> None:
        if found is None:
            raise SchemaError
        if found != self._expected:
            raise HostTransactionError(ANOTHER_DATABASE)
        self._known = True
        if self._seen is not None:
            self._seen.add((self._statements, self._expected))

    def _execute(self, statement: Any, parameters: Any = None) -> Any:
        return self._connection.execute(statement, parameters, execution_options=self._options)


@contextmanager
def bounded_locks(connection: Any, seconds: float) -> Iterator[None]:
    """Bound how long a unit waits for a lock, and give the host's own setting back (PostgreSQL).

    Stands outside the savepoint's release and inside the host's transaction: on an error the rollback to the savepoint
    restores the setting by itself.

    Args:
        connection: a :class:`HostConnection`.
        seconds: the longest wait for a lock.

    """
    if connection.dialect.name != "postgresql":
        yield
        return
    before = connection.take_lock_timeout(seconds)
    yield
    connection.execute(_give_lock_timeout, {"before": before})
