"""What the storage kit asks of a database: open it elsewhere, be its host, break one call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from inspect import isfunction
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.straight import Driver
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance.storage.host import HostTransaction

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
BY_DIALECT = ("do_execute", "do_executemany", "do_execute_no_params", "do_commit")
BY_DRIVER = tuple(name for name, of in vars(Driver).items() if isfunction(of) and name[0] != "_" and name != "close")
"""Every way to the database, those that are added later too."""


def reopened(url: str, prefix: str) -> SqlAlchemyStorage:
    """Open the database in another process."""
    return SqlAlchemyStorage.open(url, prefix=prefix, clock=FrozenClock(NOON), waits=Waits(lock=5, pool_size=2))


@contextmanager
def hosting(url: str) -> Iterator[HostTransaction]:
    """Be a host with one table and an open connection."""
    engine = sa.create_engine(url, poolclass=NullPool)
    with ExitStack() as stack:
        with engine.begin() as setting_up:
            setting_up.exec_driver_sql("CREATE TABLE IF NOT EXISTS host_notes (words TEXT)")
        stack.callback(lambda: _drop(engine))
        connection = stack.enter_context(engine.connect())

        def notes() -> list[str]:
            with engine.connect() as other:
                return list(other.scalars(sa.text("SELECT words FROM host_notes ORDER BY words DESC")))

        yield HostTransaction(
            connection=connection,
            commit=connection.commit,
            rollback=connection.rollback,
            note=lambda words: connection.execute(sa.text("INSERT INTO host_notes VALUES (:w)"), {"w": words}),
            notes=notes,
        )


def _drop(engine: Engine) -> None:
    with engine.begin() as tidying:
        tidying.exec_driver_sql("DROP TABLE host_notes")


@contextmanager
def breaking(engine: Engine, number: int) -> Iterator[SimpleNamespace]:
    """Let the n-th call fail with an error of the driver, whichever way it goes."""
    fault = SimpleNamespace(met=False)
    left = number

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            fault.met = True
            raise engine.dialect.dbapi.OperationalError("the disk is on fire")

    def around_dialect(method: Any) -> Any:
        def told(*arguments: Any) -> Any:
            count()
            return method(*arguments)

        return told

    def around_driver(method: Any) -> Any:
        def told(driver: Any, *arguments: Any) -> Any:
            try:
                count()
            except engine.dialect.dbapi.OperationalError as error:
                raise sa.exc.OperationalError("a statement", {}, error) from error
            return method(driver, *arguments)

        return told

    with pytest.MonkeyPatch.context() as patch:
        for name in BY_DIALECT:
            patch.setattr(engine.dialect, name, around_dialect(getattr(engine.dialect, name)))
        for name in BY_DRIVER:
            patch.setattr(Driver, name, around_driver(getattr(Driver, name)))
        yield fault
