"""SQLite connections that keep what they promise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from evmbilling.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

BUSY_SECONDS = 5.0
BEGIN_OPTION = "evmbilling_begin"
"""Execution option of a connection: ``"DEFERRED"`` for a transaction that only reads; ``IMMEDIATE`` otherwise."""
_WRITING = "BEGIN IMMEDIATE"
_BUSY = "evmbilling_busy_timeout"
_PLAIN = "evmbilling_plain"
"""Note on a driver's connection: a transaction is open that SQLAlchemy did not begin."""
_GLANCE = 0.02
"""Seconds after which SQLite would begin to look too seldom; see :func:`_begin_writing`."""
_WAL_ATTEMPTS = 50
_WAL_PAUSE = 0.02


def configure(engine: Any, *, busy_timeout: float = BUSY_SECONDS) -> None:
    """Make a SQLite engine safe for money: call it once, before the first connection.

    Every connection gets WAL, ``foreign_keys=ON``, ``synchronous=FULL`` (a power loss must not lose a checkout whose
    payload is already in a wallet), ``recursive_triggers=ON`` (REPLACE then fires delete triggers) and a busy timeout.
    Every transaction starts with ``BEGIN IMMEDIATE``, because a read that turns into a write fails at once, whatever
    the timeout.

    Args:
        engine: an ``Engine`` or an ``AsyncEngine`` of SQLite.
        busy_timeout: seconds to wait for another writer.

    Raises:
        ConfigurationError: the engine is of another database.

    """
    target: Engine = getattr(engine, "sync_engine", engine)
    if target.dialect.name != "sqlite":
        raise ConfigurationError("sqlite.configure is for SQLite engines", field="engine")

    def connected(dbapi_connection: Any, record: Any) -> None:
        set_pragmas(dbapi_connection, busy_timeout=busy_timeout)
        record.info[_BUSY] = busy_timeout

    event.listen(target, "connect", connected)
    event.listen(target, "begin", begin_transaction)


def set_pragmas(dbapi_connection: Any, *, busy_timeout: float) -> None:
    """Set what SQLite forgets at every connect; the busy timeout first, so that the rest waits."""
    cursor = dbapi_connection.cursor()
    try:
        _set_busy_timeout(cursor, busy_timeout)
        _use_wal(cursor)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA recursive_triggers=ON")
    finally:
        cursor.close()


def _set_busy_timeout(target: Any, seconds: float) -> None:
    target.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")


def _use_wal(cursor: Any) -> None:
    """Switch to WAL; the first switch needs the file for itself and does not honour the busy timeout."""
    for attempt in range(_WAL_ATTEMPTS):
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone()[0] in {"wal", "memory"}:
            return
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except Exception as error:
            if "locked" not in str(error) or attempt == _WAL_ATTEMPTS - 1:
                raise
            time.sleep(_WAL_PAUSE)


def begin_transaction(connection: Connection) -> None:
    """Send the BEGIN that the driver would send too late, or not at all."""
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT" or _is_open(connection):
        return
    begin = f"BEGIN {options.get(BEGIN_OPTION, 'IMMEDIATE')}"
    if begin == _WRITING and not connection.dialect.is_async:
        _begin_writing(connection, connection.info.get(_BUSY, BUSY_SECONDS))
    else:
        # Without parameters, so nothing in it depends on the driver; errors are SQLAlchemy's all the same.
        connection.exec_driver_sql(begin)


def begin_plainly(connection: Connection, kind: str) -> bool:
    """Begin a transaction of this kind without SQLAlchemy, which finds it open; False when the database refused.

    Whoever began so ends the transaction, and calls :func:`end_plainly`.
    """
    raw, info = connection.connection.dbapi_connection, connection.info
    begin = f"BEGIN {kind}"
    if begin != _WRITING:
        begun = _sent(raw, begin)
    else:
        patience = info.get(_BUSY, BUSY_SECONDS)
        _set_busy_timeout(raw, min(_GLANCE, patience))
        try:
            begun = _sent(raw, begin)
        finally:
            _set_busy_timeout(raw, patience)
    if begun:
        info[_PLAIN] = True
    return begun


def end_plainly(connection: Connection) -> None:
    """Let SQLAlchemy begin by itself again."""
    if not connection.invalidated:  # a lost connection took its notes along
        connection.info.pop(_PLAIN, None)


def _is_open(connection: Connection) -> bool:
    """Whether a transaction was begun plainly, and is still there."""
    raw: Any = connection.connection.dbapi_connection
    return _PLAIN in connection.info and bool(raw.in_transaction)


def _sent(raw: Any, begin: str) -> bool:
    cursor = raw.cursor()
    try:
        cursor.execute(begin)
    except Exception:  # noqa: BLE001  - SQLAlchemy begins then, and says what is wrong
        return False
    finally:
        cursor.close()
    return True


def _begin_writing(connection: Connection, patience: float) -> None:
    """Wait for the file's lock by looking often.

    SQLite's own wait soon looks ten times a second only. Whoever writes one transaction after another leaves the file
    free for less than a millisecond between two, so that another process meets that moment too seldom and gives up.
    """
    raw = connection.connection.dbapi_connection
    end = time.monotonic() + patience
    _set_busy_timeout(raw, min(_GLANCE, patience))
    try:
        while True:
            try:
                connection.exec_driver_sql(_WRITING)
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() >= end:
                    raise
            else:
                return
    finally:
        _set_busy_timeout(raw, patience)
