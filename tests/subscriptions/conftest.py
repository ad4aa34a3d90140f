"""Lives over each storage, each fresh for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from life_bench import START, Life

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock

WAITS = Waits(lock=20, pool=30, pool_size=20)
OpenUrl = Callable[[str], str]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lives") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server) -> Iterator[str]:
    name = postgres_server.create()
    upgrade(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture
def fresh_url(request, tmp_path) -> Iterator[OpenUrl]:
    """Make a fresh database by name and return its url."""
    with ExitStack() as stack:

        def make(name: str) -> str:
            if name == "sqlite":
                path = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "billing.db")
                return f"sqlite:///{path}"
            server = request.getfixturevalue("postgres_server")
            return stack.enter_context(server.database(template=request.getfixturevalue("postgres_template")))

        yield make


@pytest.fixture
def open_life(fresh_url) -> Iterator[Callable[[str], Life]]:
    """Open a life on a storage by name."""
    with ExitStack() as stack:

        def make(name: str) -> Life:
            if name == "memory":
                return Life()
            storage = SqlAlchemyStorage.open(fresh_url(name), clock=FrozenClock(START), waits=WAITS)
            stack.callback(storage.close)
            return Life(storage)

        yield make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def life(request, open_life) -> Life:
    """A life over each storage."""
    return open_life(request.param)


@pytest.fixture
def memory_life() -> Life:
    """A life in memory, for tables of many rows."""
    return Life()
