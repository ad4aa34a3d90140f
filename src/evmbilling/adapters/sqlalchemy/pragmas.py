"""SQLite connections that keep what they promise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import event

from evmbilling.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

BUSY_SECONDS = 5.0
BEGIN_OPTION = "evmbilling_begin"
"""Execution option of a connection: ``"DEFERRED"`` for a transaction that only reads; ``IMMEDIATE`` otherwise."""
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

    def connected(dbapi_connection: Any, _record: object) -> None:
        set_pragmas(dbapi_connection, busy_timeout=busy_timeout)

    event.listen(target, "connect", connected)
    event.listen(target, "begin", begin_transaction)


def set_pragmas(dbapi_connection: Any, *, busy_timeout: float) -> None:
    """Set what SQLite forgets at every connect; the busy timeout first, so that the rest waits."""
    cursor = dbapi_connection.cursor()
    try:
        cursor.execute(f"PRAGMA busy_timeout={int(busy_timeout * 1000)}")
        _use_wal(cursor)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA recursive_triggers=ON")
    finally:
        cursor.close()


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
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    # Without parameters, so nothing in it depends on the driver; errors are SQLAlchemy's all the same.
    connection.exec_driver_sql(f"BEGIN {options.get(BEGIN_OPTION, 'IMMEDIATE')}")
