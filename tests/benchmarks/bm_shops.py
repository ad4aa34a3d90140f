"""Databases with a stocked merchant, and engines on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.adapters.signers import LocalSigner
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import Network, PaymentGateway, SubscriptionPlan
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.selling.orders import Order
from evmbilling.factory import BillingEngine
from evmbilling.sqlite import configure
from evmbilling.testing.merchant import SIGNER_KEY, open_merchant, repeatable_secrets
from evmbilling.testing.postgres import PostgresServer

CLIENTS = 4
WAITS = Waits(lock=30, pool=30, pool_size=CLIENTS + 1)


class Told(EvmProvider):
    """Has been told by a node that no longer answers that the tokens are as configured."""

    def inspect_plan(self, plan: SubscriptionPlan, networks: Mapping[str, Network]) -> Sequence[str]:
        del plan, networks
        return ()


class SilentPen(EvmProvider):
    """Signs nothing: what the rest of a checkout costs."""

    def sign(self, order: Order, gateway: PaymentGateway) -> tuple[str, bytes]:
        return order.treasury, bytes(65)


def provider(kind: type[EvmProvider] = EvmProvider) -> EvmProvider:
    """A provider whose only key is the test key."""
    signer = LocalSigner(SIGNER_KEY)
    return kind(signer_for=lambda _: signer, reveal=lambda _: "http://127.0.0.1:9")


def open_engine(storage: SqlAlchemyStorage, kind: type[EvmProvider] = EvmProvider) -> BillingEngine:
    return BillingEngine(storage=storage, providers={"evm": provider(kind)}, secrets=repeatable_secrets())


def stock(url: str) -> None:
    """Migrate a database and open a merchant in it."""
    upgrade(url)
    storage = SqlAlchemyStorage.open(url)
    addresses = {name: checksum(name.encode().rjust(20, b"\1")) for name in ("contract", "token", "treasury")}
    open_merchant(
        open_engine(storage, Told), chain_id=31337, rpc_url="http://127.0.0.1:9", signer=SIGNER_KEY, **addresses
    )
    storage.close()


def buy(engine: object, user_id: str) -> Checkout:
    """One checkout of the monthly plan by a user that nobody has seen before."""
    wallet = "0x" + sha256(user_id.encode()).hexdigest()[:40]
    return engine.checkout(plan="pro", user_id=user_id, wallet=wallet, idempotency_key="first")


def open_host(url: str) -> sa.Engine:
    """A host's own engine, set up as the documentation of joining asks."""
    if url.startswith("sqlite"):
        engine = sa.create_engine(url, connect_args={"check_same_thread": False, "timeout": WAITS.lock})
        configure(engine, busy_timeout=WAITS.lock)
        return engine
    return sa.create_engine(url)


@frozen
class Database:
    """A kind of database that makes stocked copies of itself.

    Attributes:
        fresh: opens a copy; ``with database.fresh() as url``.
        copy: opens a copy of another one, to which nobody is connected.

    """

    name: str
    fresh: Callable[[], Any]
    copy: Callable[[str], Any]


def sqlite_files(folder: Path) -> Database:
    """SQLite in files of a folder; where our tables are in its ``template.db``, they are not made again."""
    template, numbers = folder / "template.db", count()
    stock(f"sqlite:///{template}")

    @contextmanager
    def copy(url: str) -> Iterator[str]:
        path = folder / f"copy{next(numbers)}.db"
        shutil.copy(url.removeprefix("sqlite:///"), path)
        yield f"sqlite:///{path}"
        for left in folder.glob(f"{path.name}*"):
            left.unlink()

    return Database("sqlite", lambda: copy(f"sqlite:///{template}"), copy)


@contextmanager
def postgres_copies(server: PostgresServer, *, migrated: str = "template0") -> Iterator[Database]:
    """Databases of a server, copied from a stocked one, which may begin as a copy of one with our tables."""
    template = server.create(template=migrated)
    try:
        stock(server.url(template))
        yield Database(
            "postgresql",
            lambda: server.database(template=template),
            lambda url: server.database(template=str(sa.engine.make_url(url).database)),
        )
    finally:
        server.drop(template)
