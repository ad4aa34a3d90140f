"""A simulated merchant with one paid order, over each storage."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from refunds_bench import Desk

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import simulated_merchant

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
WAITS = Waits(lock=10, pool=20, pool_size=20)


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("refunds") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _postgres_template(postgres_server) -> Iterator[str]:
    name = postgres_server.create()
    upgrade(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture
def open_desk(request, tmp_path) -> Iterator[Callable[[str], Desk]]:
    """Open a desk over a storage by name."""
    with ExitStack() as stack:

        def open_(name: str) -> Desk:
            clock = FrozenClock(START)
            storage: Any = MemoryStorage(clock, lock_timeout=10)
            if name != "memory":
                if name == "sqlite":
                    path = shutil.copy(request.getfixturevalue("_sqlite_template"), tmp_path / "refunds.db")
                    url = f"sqlite:///{path}"
                else:
                    server = request.getfixturevalue("postgres_server")
                    url = stack.enter_context(server.database(template=request.getfixturevalue("_postgres_template")))
                storage = SqlAlchemyStorage.open(url, clock=clock, waits=WAITS)
                stack.callback(storage.close)
            return Desk(simulated_merchant(storage=storage, chain=FakeChain(31337, start=START)))

        yield open_


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def desk(request, open_desk) -> Desk:
    """A desk over each storage."""
    return open_desk(request.param)


@pytest.fixture
def memory_desk(open_desk) -> Desk:
    """A desk in memory, for what no database decides."""
    return open_desk("memory")
