"""Shops over the three storages, each fresh for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from engine_shop import START, Shop, Watched, build_shop, stock

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain

INSTANCE_ID = bytes(range(1, 9))
WAITS = Waits(lock=10, pool=20, pool_size=60)
MakeShop = Callable[..., Shop]


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("engine") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _postgres_template(postgres_server) -> Iterator[str]:
    name = postgres_server.create()
    upgrade(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture
def open_storage(request, tmp_path) -> Iterator[Callable[[str, FrozenClock], Any]]:
    """Open a fresh storage by name; SQL ones give every connection back at the end."""
    with ExitStack() as stack:
        opened: list[SqlAlchemyStorage] = []

        def open_(name: str, clock: FrozenClock) -> Any:
            if name == "memory":
                return MemoryStorage(clock, instance_id=INSTANCE_ID, lock_timeout=10)
            if name == "sqlite":
                template = request.getfixturevalue("_sqlite_template")
                path = shutil.copy(template, tmp_path / f"billing{len(opened)}.db")
                url = f"sqlite:///{path}"
            else:
                server = request.getfixturevalue("postgres_server")
                template = request.getfixturevalue("_postgres_template")
                url = stack.enter_context(server.database(template=template))
            storage = SqlAlchemyStorage.open(url, clock=clock, waits=WAITS)
            stack.callback(storage.close)
            opened.append(storage)
            return storage

        yield open_
        assert [storage._engine.pool.checkedout() for storage in opened] == [0] * len(opened)


@pytest.fixture
def make_shop(open_storage) -> MakeShop:
    """Make a stocked shop: ``make_shop(storage="memory", …)``; other keywords are those of ``stock`` and the chain."""

    def make(
        storage: str = "memory",
        *,
        seed: int = 1,
        chains: Sequence[FakeChain] | None = None,
        extra_lines: Any = None,
        **stocking: Any,
    ) -> Shop:
        clock = FrozenClock(START)
        inner = Watched(open_storage(storage, clock))
        return stock(build_shop(inner, clock, seed=seed, chains=chains, extra_lines=extra_lines), **stocking)

    return make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def backend(request) -> str:
    """The name of a storage; a test that asks for it runs over each."""
    return request.param


@pytest.fixture
def any_shop(backend, make_shop) -> Callable[..., Shop]:
    """``make_shop`` over each storage."""
    return lambda **options: make_shop(backend, **options)


@pytest.fixture
def shop(any_shop) -> Shop:
    """A stocked shop over each storage."""
    return any_shop()


@pytest.fixture
def memory_shop(make_shop) -> Shop:
    """A stocked shop in memory, for tables of many rows."""
    return make_shop()
