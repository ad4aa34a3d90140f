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
from evmbilling.errors import HostTransactionError

if TYPE_CHECKING:
    from collections.abc import Iterator

ASYNC_HINT = "this is the asynchronous side: use `await session.run_sync(lambda sync: …)` and join what it hands over"
AUTOCOMMIT_HINT = "the connection is in AUTOCOMMIT: what we write could not be rolled back with what you write"

_take_lock_timeout = sa.select(
    sa.func.current_setting("lock_timeout"),
    sa.func.set_config("lock_timeout", sa.bindparam("wanted", type_=sa.Text), sa.true()),
)
_give_lock_timeout = sa.select(sa.func.set_config("lock_timeout", sa.bindparam("before", type_=sa.Text), sa.true()))
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
    fairy = connection.connection
    dbapi: Any = fairy.dbapi_connection
    detected = connection.dialect.detect_autocommit_setting(dbapi)
    if connection.dialect.name != "sqlite":
        if detected:
            raise HostTransactionError(AUTOCOMMIT_HINT)
        return
    driver: Any = fairy.driver_connection
    if driver.in_transaction and getattr(driver, "autocommit", None) is not True:
        return
    # A driver with isolation_level None and no transaction after the host's BEGIN hooks have run commits by itself.
    if detected or getattr(driver, "autocommit", None) is True:
        raise HostTransactionError(AUTOCOMMIT_HINT)
    connection.execute(_begin_immediate)


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Run a call in a savepoint of the connection: a typed error of ours leaves the host's transaction usable.

    The session's own ``begin_nested`` would flush and expire the host's objects.
    """
    nested = connection.begin_nested()
    try:
        yield
    except BaseException:
        # When SQLite or the server has already ended the transaction there is no savepoint left; the first error tells.
        with suppress(exc.DBAPIError, exc.InvalidRequestError):
            nested.rollback()
        raise
    nested.commit()


@contextmanager
def bounded_locks(connection: Connection, seconds: float) -> Iterator[None]:
    """Bound how long a call waits for a lock, and give the host's own setting back (PostgreSQL).

    Stands outside the savepoint's release and inside the host's transaction: on an error the rollback to the savepoint
    restores the setting by itself.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    before = connection.execute(_take_lock_timeout, {"wanted": f"{milliseconds(seconds)}ms"}).scalar_one()
    yield
    connection.execute(_give_lock_timeout, {"before": before})


@contextmanager
def joined_call(target: object, *, lock_timeout: float) -> Iterator[Connection]:
    """Run one call of ours inside the host's transaction.

    Raises:
        HostTransactionError: the connection cannot be joined.

    """
    connection = connection_of(target)
    with savepoint(connection), bounded_locks(connection, lock_timeout):
        yield connection
