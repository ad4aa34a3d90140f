"""Hosts that bring their own connection: every driver and every way of beginning a transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import attrs
import sqlalchemy as sa
from attrs import field, frozen
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import NullPool

from evmbilling import BillingEngine, sqlite
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.actors import SYSTEM
from evmbilling.domain.addresses import NATIVE_COIN
from evmbilling.domain.decisions import StoreCustomer
from evmbilling.domain.people.customers import Customer
from evmbilling.errors import RetryTransaction

T = TypeVar("T")
Body = Callable[[Any], T]


class Base(DeclarativeBase):
    """The host's own tables."""


class Note(Base):
    """A row of the host."""

    __tablename__ = "host_notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


class Abandon(Exception):
    """The host rolls its transaction back."""


class Host(Protocol):
    """One way of having a database."""

    name: str
    url: sa.URL

    def transaction(self, body: Body[T], *, isolation: str | None = None, session: bool = False) -> T:
        """Run a body in one transaction of the host and commit it; roll back when it raises."""
        ...


def _begin(statement: str) -> Callable[[Engine], None]:
    """Return the recipe of SQLAlchemy's documentation: the driver begins nothing, the event does."""

    def prepare(engine: Engine) -> None:
        @event.listens_for(engine, "connect")
        def connected(dbapi_connection, _record):
            dbapi_connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def begun(connection):
            connection.exec_driver_sql(statement)

    return prepare


def _nothing(_: Engine) -> None:
    """Leave the driver as it comes."""


@frozen
class SyncHost:
    """A host with an ordinary engine."""

    name: str
    url: sa.URL
    prepare: Callable[[Engine], None] = _nothing
    engine: Engine = field(init=False)

    @engine.default
    def _open(self) -> Engine:
        engine = sa.create_engine(self.url, poolclass=NullPool)
        self.prepare(engine)
        return engine

    def transaction(self, body: Body[T], *, isolation: str | None = None, session: bool = False) -> T:
        engine = self.engine
        if isolation is not None:
            engine = engine.execution_options(isolation_level=isolation)
        if session:
            with Session(engine) as orm, orm.begin():
                return body(orm)
        with engine.connect() as connection, connection.begin():
            return body(connection)


@frozen
class AsyncHost:
    """A host with an asynchronous engine: our calls run inside ``run_sync``."""

    name: str
    url: sa.URL
    engine: AsyncEngine = field(init=False)

    @engine.default
    def _open(self) -> AsyncEngine:
        """Connect once: on its first connection an engine holds an asyncio lock, which no two event loops can share."""
        engine = create_async_engine(self.url, poolclass=NullPool)
        asyncio.run(_connect(engine))
        return engine

    def transaction(self, body: Body[T], *, isolation: str | None = None, session: bool = False) -> T:
        return asyncio.run(self._run(body, isolation, session=session))

    async def _run(self, body: Body[T], isolation: str | None, *, session: bool) -> T:
        options = {} if isolation is None else {"isolation_level": isolation}
        engine = self.engine.execution_options(**options)
        opened: Any = AsyncSession(engine) if session else engine.connect()
        async with opened as host, host.begin():
            return await host.run_sync(body)


async def _connect(engine: AsyncEngine) -> None:
    async with engine.connect():
        pass


SQLITE_HOSTS = {
    "sqlite3-default": lambda url: SyncHost("sqlite3-default", url),
    "sqlite3-begin": lambda url: SyncHost("sqlite3-begin", url, _begin("BEGIN")),
    "sqlite3-immediate": lambda url: SyncHost("sqlite3-immediate", url, _begin("BEGIN IMMEDIATE")),
    "sqlite3-configured": lambda url: SyncHost("sqlite3-configured", url, sqlite.configure),
    "aiosqlite": lambda url: AsyncHost("aiosqlite", url.set(drivername="sqlite+aiosqlite")),
}
POSTGRES_HOSTS = {
    "psycopg": lambda url: SyncHost("psycopg", url),
    "psycopg-async": lambda url: AsyncHost("psycopg-async", url),
    "asyncpg": lambda url: AsyncHost("asyncpg", url.set(drivername="postgresql+asyncpg")),
}
ALL_HOSTS = (*SQLITE_HOSTS, *POSTGRES_HOSTS)


@frozen
class Place:
    """A host and a storage over the same database."""

    host: Host
    storage: SqlAlchemyStorage

    @property
    def is_postgres(self) -> bool:
        return self.host.name in POSTGRES_HOSTS

    def notes(self) -> list[str]:
        """What the host committed, seen by somebody else."""
        with _onlooker(self.host.url).connect() as connection:
            return list(connection.execute(sa.select(Note.text).order_by(Note.id)).scalars())

    def count(self, customer: Customer) -> int | None:
        """What is committed of a customer's counter, seen by somebody else."""
        with self.storage.unit(write=False) as unit:
            stored = unit.customer(customer.user_id)
        return None if stored is None else stored.event_seq


@lru_cache(maxsize=8)
def _onlooker(url: sa.URL) -> Engine:
    sync = {"sqlite+aiosqlite": "sqlite", "postgresql+asyncpg": "postgresql+psycopg"}
    return sa.create_engine(url.set(drivername=sync.get(url.drivername, url.drivername)), poolclass=NullPool)


PAYEE = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
KEY_VARIABLE = "EVMBILLING_TEST_ORDER_KEY"
SIGNING_KEY = "0x" + "5b" * 32


def put_on_sale(billing: BillingEngine) -> None:
    """Configure one plan on one network whose node nobody can reach."""
    admin = billing.admin(SYSTEM)
    coin = {"token": NATIVE_COIN, "decimals": 18, "symbol": "ETH"}
    admin.create_network(name="dead", chain_id=31337, rpc_urls=["env:NO_NODE"], testnet=True)
    admin.create_gateway(slug="main", networks=["dead"], signer=f"env:{KEY_VARIABLE}", treasuries={"dead": PAYEE})
    admin.create_contract(slug="checkout", network="dead", address=PAYEE)
    admin.create_plan(
        slug="pro",
        name="Pro",
        product="api",
        interval="month",
        gateway_slug="main",
        contract_slug="checkout",
        prices=[coin | {"network": "dead", "chain_id": 31337, "display": "5"}],
    )


def write_note(target: Connection | Session, number: int, text: str = "host") -> None:
    """Write a row of the host's."""
    target.execute(sa.insert(Note).values(id=number, text=text))


def read_notes(target: Connection | Session) -> list[str]:
    """Read rows of the host's."""
    return list(target.execute(sa.select(Note.text)).scalars())


def count_up(storage: SqlAlchemyStorage, target: object, customer: Customer) -> int:
    """Read a customer's counter and write it back, one higher: what a lost update would show in."""
    with storage.join(target) as joined, joined.unit() as unit:
        stored = unit.lock_customer(customer)
        moved = attrs.evolve(stored, event_seq=stored.event_seq + 1, version=stored.version + 1)
        unit.apply([StoreCustomer(moved)])
    return moved.event_seq


def until_it_works(host: Host, body: Body[T], *, tries: int = 200, **how: Any) -> T:
    """Do what RetryTransaction asks for: run the whole transaction again."""
    for _ in range(tries):
        try:
            return host.transaction(body, **how)
        except RetryTransaction:
            continue
    raise AssertionError(f"not once in {tries} tries")
