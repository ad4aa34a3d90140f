"""What every test of this project has."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.postgres import PostgresServer

# Two shared cores make a deadline a measurement of the neighbours.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the working tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with our tables, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a database with our tables, to be copied."""
    name = postgres_server.create()
    upgrade(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture
def open_storage_named(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[str, FrozenClock], MemoryStorage | SqlAlchemyStorage]]:
    """Open an empty storage by name, ``memory``, ``sqlite`` or ``postgres``; what was opened is closed at the end."""
    with ExitStack() as stack:

        def open_(name: str, clock: FrozenClock) -> MemoryStorage | SqlAlchemyStorage:
            if name == "memory":
                return MemoryStorage(clock, lock_timeout=10)
            if name == "sqlite":
                url = f"sqlite:///{shutil.copy(request.getfixturevalue('migrated_sqlite'), tmp_path / 'billing.db')}"
            else:
                server = request.getfixturevalue("postgres_server")
                url = stack.enter_context(server.database(template=request.getfixturevalue("migrated_postgres")))
            storage = SqlAlchemyStorage.open(url, clock=clock, waits=Waits(lock=10, pool=20, pool_size=20))
            stack.callback(storage.close)
            return storage

        yield open_
