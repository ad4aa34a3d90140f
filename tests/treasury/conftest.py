"""Merchants that take plain transfers, over the three storages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from till import START, Till, open_till

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock

INSTANCE_ID = bytes(range(1, 9))
WAITS = Waits(lock=10, pool=20, pool_size=20)
OpenTill = Callable[..., Till]


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("treasury") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _postgres_template(postgres_server) -> Iterator[str]:
    name = postgres_server.create()
    upgrade(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture
def open_any(request, tmp_path) -> Iterator[OpenTill]:
    """Open a till over a storage by name: ``open_any("sqlite", …)``; other keywords are the till's."""
    with ExitStack() as stack:

        def open_(name: str, **options: Any) -> Till:
            clock = FrozenClock(START)
            if name == "memory":
                return open_till(MemoryStorage(clock, instance_id=INSTANCE_ID), clock, **options)
            if name == "sqlite":
                path = shutil.copy(request.getfixturevalue("_sqlite_template"), tmp_path / "billing.db")
                url = f"sqlite:///{path}"
            else:
                server = request.getfixturevalue("postgres_server")
                template = request.getfixturevalue("_postgres_template")
                url = stack.enter_context(server.database(template=template))
            storage = SqlAlchemyStorage.open(url, clock=clock, waits=WAITS)
            stack.callback(storage.close)
            return open_till(storage, clock, **options)

        yield open_


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def make_till(request, open_any) -> OpenTill:
    """Open a till over each storage."""
    return lambda **options: open_any(request.param, **options)


@pytest.fixture
def till(make_till) -> Till:
    """A till with the default policy, over each storage."""
    return make_till()


@pytest.fixture
def memory_till(open_any) -> OpenTill:
    """Open tills in memory, for tables of many rows."""
    return lambda **options: open_any("memory", **options)
