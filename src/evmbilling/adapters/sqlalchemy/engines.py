"""Connections of our own: a bounded pool whose every wait is bounded too."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from attrs import Attribute, field, frozen
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from evmbilling.adapters.sqlalchemy import pragmas
from evmbilling.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

REST_SECONDS = 30.0
"""A connection that was used within this time is taken as it is, unless the server has said something."""


def _positive(_: object, attribute: Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ConfigurationError("a wait and a pool are above zero", field=attribute.name)


@frozen(kw_only=True)
class Waits:
    """How long anything may wait on the database; seconds.

    Attributes:
        pool_size: connections at most; more callers wait ``pool`` seconds.
        pool: for a free connection; on SQLite also for the turn to write.
        connect: for a new connection.
        lock: for a row or for the file lock of SQLite.
        statement: for one statement (PostgreSQL).
        idle: for a transaction of ours that stopped talking (PostgreSQL ends it).

    """

    pool_size: int = field(default=5, validator=_positive)
    pool: float = field(default=10.0, validator=_positive)
    connect: float = field(default=10.0, validator=_positive)
    lock: float = field(default=5.0, validator=_positive)
    statement: float = field(default=30.0, validator=_positive)
    idle: float = field(default=60.0, validator=_positive)


def milliseconds(seconds: float) -> int:
    """Round up to whole milliseconds: zero would mean "wait for ever"."""
    return max(1, round(seconds * 1000))


def parse_url(url: str | URL) -> URL:
    """Read a url.

    Raises:
        ConfigurationError: it cannot be read. The url itself is never in the message.

    """
    if isinstance(url, str) and not url.isprintable():
        raise ConfigurationError(
            "the database url holds a line break or another control character", field="database_url"
        )
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is no number, a bracket that is not closed
        raise ConfigurationError("the database url cannot be read", field="database_url") from None


def open_engine(url: str | URL, *, waits: Waits | None = None) -> Engine:
    """Open an engine for our own use; whoever opens it disposes of it.

    Raises:
        ConfigurationError: the url is no SQLite or PostgreSQL url. The url itself is never in the message.
        MissingExtra: the driver is not installed.

    """
    waits = waits or Waits()
    parsed = parse_url(url)
    backend = parsed.drivername.partition("+")[0]
    if backend == "sqlite":
        return _open_sqlite(_with_driver(parsed, "sqlite", {"sqlite", "sqlite+pysqlite"}), waits)
    if backend in {"postgresql", "postgres"}:
        accepted = {"postgres", "postgresql", "postgresql+psycopg"}
        return _open_postgresql(_with_driver(parsed, "postgresql+psycopg", accepted), waits)
    raise ConfigurationError(f"databases are sqlite and postgresql, not {backend}", field="database_url")


def _with_driver(url: URL, driver: str, accepted: set[str]) -> URL:
    if url.drivername not in accepted:
        raise ConfigurationError(f"our own connections use {driver}, not {url.drivername}", field="database_url")
    return url.set(drivername=driver)


def is_in_memory(url: URL) -> bool:
    """Whether a database of SQLite is its connection, and ends with it."""
    return url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}


def _open_sqlite(url: URL, waits: Waits) -> Engine:
    in_memory = is_in_memory(url)
    # A database in memory lives in its one connection, which the threads then share in turn.
    engine = sa.create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1 if in_memory else waits.pool_size,
        max_overflow=0,
        pool_timeout=waits.pool,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": waits.lock},
    )
    pragmas.configure_ours(engine, busy_timeout=waits.lock)
    return engine


def _open_postgresql(url: URL, waits: Waits) -> Engine:
    try:
        from evmbilling.adapters.sqlalchemy.bounded_cursor import BoundedCursor

        # PostgreSQL's own placeholders: the driver would else split the text of every large statement again each time.
        engine = sa.create_engine(
            url,
            paramstyle="numeric_dollar",
            pool_size=waits.pool_size,
            max_overflow=0,
            pool_timeout=waits.pool,
            hide_parameters=True,
            connect_args={
                "connect_timeout": max(2, round(waits.connect)),
                "cursor_factory": BoundedCursor,
                **_KEEPALIVE,
            },
        )
    except (ImportError, NoSuchModuleError):
        raise MissingExtra('PostgreSQL needs its driver: pip install "evmbilling[postgres]"') from None

    def connected(dbapi_connection: Any, _record: object) -> None:
        _widen_socket(dbapi_connection.fileno())
        _bound_session(dbapi_connection, waits)

    event.listen(engine, "connect", connected)
    _ping_when_in_doubt(engine)
    return engine


def _ping_when_in_doubt(engine: Engine) -> None:
    """Ask a connection whether it still stands when it may not: it has rested for long, or the server said something.

    A ping before each transaction would cost a tenth of a checkout. A server that ends a session sends a message and
    closes the socket, which is seen here without a round trip; a network that swallows packets is found by the ping.
    """

    def checked_in(_dbapi_connection: Any, record: Any) -> None:
        record.info["resting_since"] = time.monotonic()

    def checked_out(dbapi_connection: Any, record: Any, _proxy: object) -> None:
        now = time.monotonic()
        if now - record.info.get("resting_since", now) < REST_SECONDS and not _has_news(dbapi_connection.fileno()):
            return
        try:
            engine.dialect.do_ping(dbapi_connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", checked_in)
    event.listen(engine, "checkout", checked_out)


def _has_news(number: int) -> bool:
    """Whether something waits to be read from a socket; where that cannot be asked, it may be so."""
    if not hasattr(select, "poll"):
        return True
    waiting = select.poll()
    waiting.register(number, select.POLLIN)
    return bool(waiting.poll(0))


def _widen_socket(number: int) -> None:
    """Let the kernel hold more of what is sent to a server on this machine, which else waits for our next turn.

    A socket of the machine's own holds 200 KiB, a few hundred rows; TCP finds by itself what is good for it.
    """
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as same:
        if same.family == getattr(socket, "AF_UNIX", None):
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)


_SEND_BUFFER = 4 << 20
_KEEPALIVE = {"keepalives": 1, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def _bound_session(dbapi_connection: Any, waits: Waits) -> None:
    """Bound every wait of a session; by statements, because a connection pooler drops start-up options."""
    settings = {
        "lock_timeout": waits.lock,
        "statement_timeout": waits.statement,
        "idle_in_transaction_session_timeout": waits.idle,
    }
    with dbapi_connection.cursor() as cursor:
        for name, seconds in settings.items():
            cursor.execute(f"SET {name} = {milliseconds(seconds)}")
        cursor.execute("SET timezone = 'UTC'")
        # A report of a year has hundreds of parts, and would be compiled for longer than it runs.
        cursor.execute("SET jit = off")
    dbapi_connection.commit()
