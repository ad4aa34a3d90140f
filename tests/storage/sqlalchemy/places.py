"""A database that a test may spoil, seen by us and by strangers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import sqlalchemy as sa
from attrs import frozen
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from databases import open_sql
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage

QUICK = Waits(lock=0.3, pool_size=5)


@lru_cache(maxsize=8)
def _stranger(url: str) -> Engine:
    return sa.create_engine(url, poolclass=NullPool)


@frozen
class Stranger:
    """Somebody who writes around us, on a connection of their own."""

    connection: Connection

    @property
    def dialect(self) -> str:
        return self.connection.dialect.name

    def run(self, *statements: str) -> None:
        """Write in a transaction of its own, which a failure ends."""
        with self.connection.begin():
            for statement in statements:
                self.connection.exec_driver_sql(statement)

    def row(self, statement: str) -> tuple[object, ...]:
        with self.connection.begin():
            return tuple(self.connection.exec_driver_sql(statement).one())

    def scalar(self, statement: str) -> object:
        return self.row(statement)[0]


@frozen
class Place:
    """An empty database of a test's own."""

    url: str

    @property
    def dialect(self) -> str:
        return sa.make_url(self.url).get_backend_name()

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Look from outside: a plain connection of a stranger, committed at the end."""
        with _stranger(self.url).begin() as connection:
            yield connection

    def run(self, *statements: str) -> None:
        """Write around us."""
        with self.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    @contextmanager
    def strangers(self) -> Iterator[Stranger]:
        """One connection for many statements, of which each is a transaction: opening one costs more than most do."""
        with _stranger(self.url).connect() as connection:
            yield Stranger(connection)

    def scalar(self, statement: str) -> object:
        with self.connect() as connection:
            return connection.exec_driver_sql(statement).scalar()

    @contextmanager
    def storage(self, **options: object) -> Iterator[SqlAlchemyStorage]:
        opened = open_sql(self.url, **{"waits": QUICK, **options})
        yield opened
        kept = opened._engine.pool.checkedout()
        opened.close()
        assert kept == 0
