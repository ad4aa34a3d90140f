"""A message bench over each storage, and shops for flows."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "engine"))

from engine_shop import START, Shop, build_shop, stock
from messages_bench import Bench, make_bench

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock

INSTANCE_ID = bytes(range(1, 9))
WAITS = Waits(lock=10, pool=20, pool_size=20)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("messages") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server) -> Iterator[str]:
    name = postgres_server.create()
    upgrade(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture
def fresh_url(request, tmp_path) -> Iterator[Callable[[str], str]]:
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
def open_storage(fresh_url) -> Iterator[Callable[[str, FrozenClock], Any]]:
    """Open a fresh storage by name."""
    with ExitStack() as stack:

        def open_(name: str, clock: FrozenClock) -> Any:
            if name == "memory":
                return MemoryStorage(clock, instance_id=INSTANCE_ID, lock_timeout=10)
            storage = SqlAlchemyStorage.open(fresh_url(name), clock=clock, waits=WAITS)
            stack.callback(storage.close)
            return storage

        yield open_


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def backend(request) -> str:
    """The name of a storage; a test that asks for it runs over each."""
    return request.param


@pytest.fixture
def make_any(backend, open_storage) -> Callable[..., Bench]:
    """Make a bench over each storage; keywords are those of ``make_bench``."""

    def make(**options: Any) -> Bench:
        clock = FrozenClock(START)
        return make_bench(open_storage(backend, clock), clock, **options)

    return make


@pytest.fixture
def make_memory(open_storage) -> Callable[..., Bench]:
    """Make a bench in memory."""

    def make(**options: Any) -> Bench:
        clock = FrozenClock(START)
        return make_bench(open_storage("memory", clock), clock, **options)

    return make


@pytest.fixture
def shop(open_storage) -> Shop:
    """A stocked shop in memory."""
    clock = FrozenClock(START)
    return stock(build_shop(open_storage("memory", clock), clock))
