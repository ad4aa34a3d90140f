"""A host and a storage over one database, for every driver."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache

import pytest
import sqlalchemy as sa
from hosts import ALL_HOSTS, POSTGRES_HOSTS, SQLITE_HOSTS, Base, Host, Place, put_on_sale

from databases import let_go, open_sql
from evmbilling import BillingEngine
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.people.customers import Customer

WAITS = Waits(lock=0.5, pool_size=3)


def _prepare(url: str) -> None:
    """Add the host's tables and what can be sold to a copy of our tables."""
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    engine.dispose()
    storage = SqlAlchemyStorage.open(url)
    put_on_sale(BillingEngine(storage=storage))
    storage.close()


@pytest.fixture(scope="session")
def sqlite_template(databases, tmp_path_factory):
    path = tmp_path_factory.mktemp("joining") / "template.db"
    shutil.copyfile(databases.sqlite_template, path)
    _prepare(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(databases, postgres_server) -> Iterator[str]:
    name = postgres_server.create(template=databases.postgres_template(postgres_server))
    _prepare(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture(scope="session")
def umbrella_template(postgres_server, postgres_template) -> Iterator[str]:
    name = postgres_server.create(template=postgres_template)
    upgrade(postgres_server.url(name), schema="umbrella")
    yield name
    postgres_server.drop(name)


@pytest.fixture
def umbrella_url(postgres_server, umbrella_template) -> Iterator[sa.URL]:
    """Our tables a second time, in a schema of their own; what can be sold is in the first."""
    with postgres_server.database(template=umbrella_template) as url:
        yield sa.make_url(url)


@pytest.fixture
def sqlite_url(sqlite_template) -> sa.URL:
    """A file with what can be sold and nothing else; always the same one, because what is compiled is kept by url."""
    path = sqlite_template.with_name("host.db")
    for beside in ("-wal", "-shm", "-journal"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    shutil.copy(sqlite_template, path)
    return sa.make_url(f"sqlite:///{path}")


@pytest.fixture
def postgres_host_url(postgres_server, postgres_template) -> Iterator[sa.URL]:
    """A database with what can be sold and nothing else."""
    with postgres_server.database(template=postgres_template) as url:
        yield sa.make_url(url)


@lru_cache(maxsize=64)
def _host(name: str, url: sa.URL) -> Host:
    """Return a host that keeps its compiled statements from test to test."""
    return (SQLITE_HOSTS | POSTGRES_HOSTS)[name](url)


@pytest.fixture(params=ALL_HOSTS)
def place(request) -> Iterator[Place]:
    """Each driver in turn; afterwards no connection of ours is left out."""
    url = request.getfixturevalue("sqlite_url" if request.param in SQLITE_HOSTS else "postgres_host_url")
    storage = open_sql(url.render_as_string(hide_password=False), waits=WAITS)
    yield Place(_host(request.param, url), storage)
    assert let_go(storage) == 0


@pytest.fixture
def alice() -> Customer:
    return Customer(user_id="user-alice", created_at=datetime(2026, 1, 31, tzinfo=UTC))
