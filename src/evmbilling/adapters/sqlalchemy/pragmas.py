"""SQLite connections that keep what they promise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, OperationalError

from evmbilling.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection, Engine

BUSY_SECONDS = 5.0
BEGIN_OPTION = "evmbilling_begin"
"""Execution option of a connection: ``"DEFERRED"`` for a transaction that only reads; ``IMMEDIATE`` otherwise."""
_WRITING = "BEGIN IMMEDIATE"
_BUSY = "evmbilling_busy_timeout"
_PLAIN = "evmbilling_plain"
"""Note on a driver's connection: a transaction is open that SQLAlchemy did not begin."""
_PRESENT = "evmbilling_present_timeout"
"""Note on a driver's connection that only we use: its busy timeout at the moment, which may stay as it is."""
_HASTY = "evmbilling_hasty"
"""Note on a driver's connection whose commits do not wait for the disk: the statements that take that back."""
_GLANCE = 0.02
"""Seconds after which SQLite would begin to look too seldom; see :func:`_begin_writing`."""
_CACHE_KIB = 8_192
_LOG_PAGES = 4_000
"""Pages in the log from which on a commit copies them to the file: 16 MB, where SQLite would take 4."""
_HASTY_LOG_PAGES = 16_000
"""The same while much is read at once: each page of a tree is then copied for many of its changes, not for each."""
_NORMAL = 1
"""The level of ``PRAGMA synchronous`` at which only the copying waits for the disk."""
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
    _configure(target, busy_timeout, ours=False)


def configure_ours(engine: Engine, *, busy_timeout: float) -> None:
    """Make an engine safe whose connections nobody has but us, and only in transactions.

    Its busy timeout then stays what the last transaction needed, which spares the next one of its kind two PRAGMAs.
    """
    _configure(engine, busy_timeout, ours=True)


def _configure(target: Engine, busy_timeout: float, *, ours: bool) -> None:
    def connected(dbapi_connection: Any, record: Any) -> None:
        waits_for_readers = not set_pragmas(dbapi_connection, busy_timeout=busy_timeout)
        record.info[_BUSY] = busy_timeout
        if ours:
            _hold_more(dbapi_connection)
        if ours and not waits_for_readers:
            record.info[_PRESENT] = busy_timeout

    event.listen(target, "connect", connected)
    event.listen(target, "begin", begin_transaction)


def set_pragmas(dbapi_connection: Any, *, busy_timeout: float) -> bool:
    """Set what SQLite forgets at every connect; the busy timeout first, so that the rest waits.

    Returns:
        Whether a commit waits for nobody, as with WAL, which some filesystems cannot have.

    """
    cursor = dbapi_connection.cursor()
    try:
        _set_busy_timeout(cursor, busy_timeout)
        has_wal = _use_wal(cursor)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA recursive_triggers=ON")
    finally:
        cursor.close()
    return has_wal


def _hold_more(dbapi_connection: Any) -> None:
    """Let large transactions stay in memory until they are committed, and several of them in the log before the file.

    With SQLite's own bounds, the pages of a few thousand rows are written, forgotten and read again while their trees
    grow, and each commit copies them to the file at once.
    """
    dbapi_connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    dbapi_connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_PAGES}")


def _set_busy_timeout(target: Any, seconds: float) -> None:
    target.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")


def _wait(raw: Any, info: Any, seconds: float) -> None:
    """Have a connection wait so long for a lock from now on."""
    present = info.get(_PRESENT)
    if present is None:
        _set_busy_timeout(raw, seconds)
    elif present != seconds:
        info[_PRESENT] = 0.0  # until it is set, whatever interrupts this
        _set_busy_timeout(raw, seconds)
        info[_PRESENT] = seconds


def _use_wal(cursor: Any) -> bool:
    """Switch to WAL; the first switch needs the file for itself and does not honour the busy timeout."""
    for attempt in range(_WAL_ATTEMPTS):
        cursor.execute("PRAGMA journal_mode")
        if cursor.fetchone()[0] in {"wal", "memory"}:
            return True
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except Exception as error:
            if "locked" not in str(error) or attempt == _WAL_ATTEMPTS - 1:
                raise
            time.sleep(_WAL_PAUSE)
    return False


def begin_transaction(connection: Connection) -> None:
    """Send the BEGIN that the driver would send too late, or not at all."""
    if _is_open(connection):
        return
    options = connection.get_execution_options()
    raw, info = connection.connection.dbapi_connection, connection.info
    patience = info.get(_BUSY, BUSY_SECONDS)
    try:
        slow_down(connection.exec_driver_sql, info)
    except DBAPIError as error:
        connection.invalidate(error)  # nobody gets it with commits that may be lost
        raise
    if _PRESENT in info:
        _wait(raw, info, patience)
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    begin = f"BEGIN {options.get(BEGIN_OPTION, 'IMMEDIATE')}"
    if begin == _WRITING and not connection.dialect.is_async:
        _begin_writing(connection, raw, patience)
    else:
        # Without parameters, so nothing in it depends on the driver; errors are SQLAlchemy's all the same.
        connection.exec_driver_sql(begin)


def hurry(raw: Any, info: Any) -> None:
    """Let commits not wait for the disk, and hold more in the log, until :func:`slow_down`.

    The log is written in order: whatever the next commit waits for has all of it before. Without a log nothing is
    loosened, because a loss of power could tear the file then.
    """
    asked = ("journal_mode", "synchronous", "wal_autocheckpoint")
    journal, level, pages = (raw.execute(f"PRAGMA {name}").fetchone()[0] for name in asked)
    if journal != "wal" or level <= _NORMAL:
        return
    # First what takes it back: whoever is interrupted here may leave the connection to another one.
    info[_HASTY] = (f"PRAGMA synchronous={level}", f"PRAGMA wal_autocheckpoint={pages}")
    raw.execute(f"PRAGMA synchronous={_NORMAL}")
    raw.execute(f"PRAGMA wal_autocheckpoint={pages and max(pages, _HASTY_LOG_PAGES)}")


def slow_down(execute: Callable[[str], object], info: Any) -> None:
    """Have commits wait for the disk again, if somebody let them hurry; no transaction is open.

    Where that fails nobody may have the connection any more.
    """
    if _HASTY in info:
        for statement in info[_HASTY]:
            execute(statement)
        del info[_HASTY]


def copy_log(raw: Any) -> None:
    """Copy what was committed from the log into the file, as far as nobody has to be waited for."""
    raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def begin_plainly(raw: Any, info: Any, kind: str) -> bool:
    """Begin a transaction of this kind without SQLAlchemy, which finds it open; False when the database refused.

    Whoever began so ends the transaction, and calls :func:`end_plainly`.

    Args:
        raw: the driver's connection.
        info: the notes on it.
        kind: what stands after BEGIN.

    """
    begin, patience = f"BEGIN {kind}", info.get(_BUSY, BUSY_SECONDS)
    _wait(raw, info, min(_GLANCE, patience) if begin == _WRITING else patience)
    begun = False
    try:
        begun = _sent(raw, begin)
    finally:
        # With WAL, whoever may write waits for nobody.
        if _PRESENT not in info or not begun:
            _wait(raw, info, patience)
    if begun:
        info[_PLAIN] = True
    return begun


def end_plainly(info: Any) -> None:
    """Let SQLAlchemy begin by itself again."""
    info.pop(_PLAIN, None)


def _is_open(connection: Connection) -> bool:
    """Whether a transaction was begun plainly, and is still there."""
    raw: Any = connection.connection.dbapi_connection
    return _PLAIN in connection.info and bool(raw.in_transaction)


def _sent(raw: Any, begin: str) -> bool:
    try:
        raw.execute(begin)
    except Exception:  # noqa: BLE001  - SQLAlchemy begins then, and says what is wrong
        return False
    return True


def _begin_writing(connection: Connection, raw: Any, patience: float) -> None:
    """Wait for the file's lock by looking often.

    SQLite's own wait soon looks ten times a second only. Whoever writes one transaction after another leaves the file
    free for less than a millisecond between two, so that another process meets that moment too seldom and gives up.
    """
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
