"""A host and a storage over one database, for every driver."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
import sqlalchemy as sa
from hosts import ALL_HOSTS, POSTGRES_HOSTS, SQLITE_HOSTS, Base, Place, put_on_sale

from evmbilling import BillingEngine
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.customers import Customer

WAITS = Waits(lock=0.5, pool_size=3)


def _prepare(url: str) -> None:
    upgrade(url)
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    engine.dispose()
    storage = SqlAlchemyStorage.open(url)
    put_on_sale(BillingEngine(storage=storage))
    storage.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("joining") / "template.db"
    _prepare(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_database(postgres_server) -> Iterator[str]:
    with postgres_server.database() as url:
        _prepare(url)
        yield url


@pytest.fixture
def sqlite_url(sqlite_template, tmp_path) -> sa.URL:
    path = tmp_path / "host.db"
    shutil.copy(sqlite_template, path)
    return sa.make_url(f"sqlite:///{path}")


GUARDED = ("audit", "outbox")
EMPTIED = ("idempotency_keys", "payment_transactions", "subscriptions", "entitlements", "customers", *GUARDED)
EMPTYING = ";".join(
    [
        "BEGIN; SET LOCAL lock_timeout = '5s'",
        *(f"ALTER TABLE evmbilling_{table} DISABLE TRIGGER USER" for table in GUARDED),
        *(f"DELETE FROM evmbilling_{table}" for table in EMPTIED),
        *(
            f"ALTER TABLE evmbilling_{table} ENABLE ALWAYS TRIGGER evmbilling_{table}_guard_{verb}"
            for table in GUARDED
            for verb in ("update", "delete", "truncate")
        ),
        "DELETE FROM host_notes; COMMIT",
    ]
)


@pytest.fixture
def postgres_host_url(postgres_database) -> sa.URL:
    """A database with what can be sold and nothing else; a new one for each test would cost more than the test."""
    with psycopg.connect(postgres_database.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(EMPTYING)
    return sa.make_url(postgres_database)


@pytest.fixture(params=ALL_HOSTS)
def place(request) -> Iterator[Place]:
    """Each driver in turn; afterwards no connection of ours is left out."""
    if request.param in SQLITE_HOSTS:
        url, make = request.getfixturevalue("sqlite_url"), SQLITE_HOSTS[request.param]
    else:
        url, make = request.getfixturevalue("postgres_host_url"), POSTGRES_HOSTS[request.param]
    storage = SqlAlchemyStorage.open(url, waits=WAITS)
    yield Place(make(url), storage)
    kept = storage._engine.pool.checkedout()
    storage.close()
    assert kept == 0


@pytest.fixture
def alice() -> Customer:
    return Customer(user_id="user-alice", created_at=datetime(2026, 1, 31, tzinfo=UTC))
