"""Databases that a test may spoil, and both databases by name."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from places import Place

from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage


@pytest.fixture
def empty_sqlite(tmp_path) -> Place:
    return Place(f"sqlite:///{tmp_path}/own.db")


@pytest.fixture
def empty_postgres(postgres_url) -> Place:
    return Place(postgres_url)


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request) -> Place:
    """Both databases in turn, without a table."""
    return request.getfixturevalue(f"empty_{request.param}")


@pytest.fixture(scope="session")
def sqlite_made(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("made") / "made.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_made(postgres_server) -> Iterator[str]:
    name = postgres_server.create()
    upgrade(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture
def migrated_sqlite(sqlite_made, empty_sqlite) -> Place:
    """A database with our tables: a copy, which costs less than a migration."""
    shutil.copy(sqlite_made, sa.make_url(empty_sqlite.url).database)
    return empty_sqlite


@pytest.fixture
def migrated_postgres(postgres_made, postgres_server) -> Iterator[Place]:
    """A database with our tables: a copy, which costs less than a migration."""
    with postgres_server.database(template=postgres_made) as url:
        yield Place(url)


@pytest.fixture(params=["sqlite", "postgres"])
def migrated(request) -> Place:
    """Both databases in turn, with our tables."""
    return request.getfixturevalue(f"migrated_{request.param}")


@pytest.fixture(params=["sqlite", "postgres"])
def sql_storage(request) -> SqlAlchemyStorage:
    """Both storages in turn, empty."""
    return request.getfixturevalue(f"{request.param}_storage")
