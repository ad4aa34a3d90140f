"""Those who are measured against each other: each makes the same rows on a database of its own."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

import psycopg
import sqlalchemy as sa
from attrs import frozen
from bm_orm import orm_checkout
from bm_recording import Recording, joined_checkout
from bm_shops import WAITS, Database, SilentPen, buy, open_engine, open_host

from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.adapters.sqlalchemy.pragmas import set_pragmas
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage

Work = Callable[[], None]


@frozen
class Contender:
    """One way to make the rows of a checkout.

    Attributes:
        name: as printed.
        work: makes the rows of one more checkout, in any thread.
        url: where the rows are.

    """

    name: str
    work: Work
    url: str


class Numbers:
    """Gives each number once, to whichever thread asks."""

    def __init__(self) -> None:
        self._next = count()
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            return next(self._next)


@contextmanager
def contenders(database: Database, own: Recording, joined: Recording) -> Iterator[list[Contender]]:
    """Open all contenders, each on a fresh copy of the database."""
    with ExitStack() as stack:

        def add(name: str, make: Callable[[str, ExitStack], Work]) -> Contender:
            url = stack.enter_context(database.fresh())
            return Contender(name, make(url, stack), url)

        yield [
            add("raw driver", lambda url, exits: _raw(url, exits, own)),
            add("raw driver, joined", lambda url, exits: _raw(url, exits, joined)),
            add("ORM", lambda url, exits: _orm(url, exits, own)),
            add("own connection", lambda url, exits: _own(url, exits, EvmProvider)),
            add("own, unsigned", lambda url, exits: _own(url, exits, SilentPen)),
            add("joined", lambda url, exits: _joined(url, exits, EvmProvider)),
            add("joined, unsigned", lambda url, exits: _joined(url, exits, SilentPen)),
        ]


def _own(url: str, exits: ExitStack, kind: type[EvmProvider]) -> Work:
    storage = SqlAlchemyStorage.open(url, waits=WAITS)
    exits.callback(storage.close)
    engine, numbers = open_engine(storage, kind), Numbers()
    return lambda: buy(engine, f"customer-{numbers()}")


def _joined(url: str, exits: ExitStack, kind: type[EvmProvider]) -> Work:
    storage, host = SqlAlchemyStorage.open(url, waits=WAITS), open_host(url)
    exits.callback(storage.close)
    exits.callback(host.dispose)
    check_out, numbers = joined_checkout(open_engine(storage, kind), host), Numbers()
    return lambda: check_out(f"customer-{numbers()}")


def _orm(url: str, exits: ExitStack, recording: Recording) -> Work:
    host, numbers = open_host(url), Numbers()
    exits.callback(host.dispose)
    return lambda: orm_checkout(host, recording.rows[numbers()])


def _raw(url: str, exits: ExitStack, recording: Recording) -> Work:
    """Replay recorded checkouts, one after the other, on the driver alone; connections are kept as a pool does."""
    free: list[Any] = []
    numbers = Numbers()

    def close() -> None:
        for connection in free:
            connection.close()

    exits.callback(close)
    replay = _replay_sqlite if url.startswith("sqlite") else _replay_postgresql

    def work() -> None:
        try:
            connection = free.pop()
        except IndexError:
            connection = _connect(url)
        replay(connection, recording.streams[numbers()])
        free.append(connection)

    return work


def _connect(url: str) -> Any:
    parsed = sa.engine.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        connection = sqlite3.connect(parsed.database, isolation_level=None, check_same_thread=False)
        set_pragmas(connection, busy_timeout=WAITS.lock)
        return connection
    return psycopg.connect(parsed.set(drivername="postgresql").render_as_string(hide_password=False))


def _replay_sqlite(connection: sqlite3.Connection, stream: list[Any]) -> None:
    cursor = connection.cursor()
    for statement, parameters in stream:
        cursor.execute(statement, parameters)
        cursor.fetchall()
    connection.commit()


def _replay_postgresql(connection: psycopg.Connection, stream: list[Any]) -> None:
    named = any(isinstance(parameters, dict) for _, parameters in stream)
    with connection.cursor() if named else psycopg.RawCursor(connection) as cursor:
        for statement, parameters in stream:
            cursor.execute(statement, parameters)
            if cursor.description is not None:
                cursor.fetchall()
    connection.commit()
