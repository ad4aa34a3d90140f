"""Databases that a test may spoil, and both databases by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage


@pytest.fixture(scope="session")
def _file(tmp_path_factory) -> Path:
    """One file for one test after another: what is compiled is kept by url."""
    return tmp_path_factory.mktemp("own") / "own.db"


@pytest.fixture
def empty_sqlite(_file) -> Place:
    for path in _file.parent.glob(f"{_file.name}*"):
        path.unlink()
    return Place(f"sqlite:///{_file}")


@pytest.fixture
def empty_postgres(postgres_url) -> Place:
    return Place(postgres_url)


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request) -> Place:
    """Both databases in turn, without a table."""
    return request.getfixturevalue(f"empty_{request.param}")


@pytest.fixture
def migrated_sqlite(databases) -> Iterator[Place]:
    """A database with our tables: a copy, which costs less than a migration."""
    with databases.lend("sqlite") as url:
        yield Place(url)


@pytest.fixture
def migrated_postgres(databases) -> Iterator[Place]:
    """A database with our tables: a copy, which costs less than a migration."""
    with databases.lend("postgres") as url:
        yield Place(url)


@pytest.fixture(params=["sqlite", "postgres"])
def migrated(request) -> Place:
    """Both databases in turn, with our tables."""
    return request.getfixturevalue(f"migrated_{request.param}")


@pytest.fixture(params=["sqlite", "postgres"])
def sql_storage(request) -> SqlAlchemyStorage:
    """Both storages in turn, empty."""
    return request.getfixturevalue(f"{request.param}_storage")
