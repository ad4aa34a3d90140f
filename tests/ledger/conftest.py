"""Merchants whose books are looked at, over the three storages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
from attrs import frozen
from ledger_records import SEAL_KEY

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.engine.core import Engine
from evmbilling.engine.verify_report import Report
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import SimulatedMerchant, simulated_merchant

WAITS = Waits(lock=10, pool=20, pool_size=20)


@frozen(kw_only=True)
class Bookshop:
    """A simulated merchant, and an engine over the same storage that has the key of seals."""

    merchant: SimulatedMerchant
    engine: Engine
    storage: Any
    place: Any = None

    def verify(self, **how: Any) -> Report:
        return self.engine.verify(**how)

    def found(self, **how: Any) -> list[tuple[str, str, str]]:
        """Verify, and return code, kind of subject and reason of each difference."""
        return sorted((d.code, d.subject.partition(":")[0], d.reason) for d in self.verify(**how).differences)

    def read(self, work: Callable[[Any], Any]) -> Any:
        with self.storage.unit(write=False) as unit:
            return work(unit)

    def write(self, *decisions: Any) -> None:
        with self.storage.unit() as unit:
            unit.apply(decisions)

    def table(self) -> dict[str, int]:
        """Every account that does not hold 0, credit positive, over all assets."""
        totals: dict[str, int] = {}
        for entry in self.read(lambda unit: unit.ledger_entries(limit=100_000)):
            for line in entry.lines:
                amount = line.amount if line.side == "credit" else -line.amount
                totals[str(line.account)] = totals.get(str(line.account), 0) + amount
        return {account: amount for account, amount in totals.items() if amount}


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _postgres_template(postgres_server) -> Iterator[str]:
    name = postgres_server.create()
    upgrade(postgres_server.url(name))
    yield name
    postgres_server.drop(name)


@pytest.fixture
def make_bookshop(request, tmp_path) -> Iterator[Callable[..., Bookshop]]:
    """Open a merchant over a storage by name."""
    with ExitStack() as stack:
        count = 0

        def make(backend: str = "memory", *, seed: int = 1) -> Bookshop:
            nonlocal count
            count += 1
            chain = FakeChain(31337, start=FrozenClock().now(), seed=seed, safe_lag=8, finalized_lag=16)
            clock = FrozenClock(chain.head.timestamp)
            storage: Any = None
            url = None
            if backend == "memory":
                storage = MemoryStorage(clock, instance_id=bytes(range(1, 9)), lock_timeout=10)
            else:
                if backend == "sqlite":
                    template = request.getfixturevalue("_sqlite_template")
                    url = f"sqlite:///{shutil.copy(template, tmp_path / f'books{count}.db')}"
                else:
                    server = request.getfixturevalue("postgres_server")
                    url = stack.enter_context(server.database(template=request.getfixturevalue("_postgres_template")))
                storage = SqlAlchemyStorage.open(url, clock=clock, waits=WAITS)
                stack.callback(storage.close)
            merchant = simulated_merchant(seed=seed, storage=storage, chain=chain)
            engine = Engine(attrs.evolve(merchant.engine._ports, seal_key=SEAL_KEY))
            return Bookshop(merchant=merchant, engine=engine, storage=storage, place=url)

        yield make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def bookshop(request, make_bookshop) -> Bookshop:
    """A merchant over each storage."""
    return make_bookshop(request.param)


@pytest.fixture
def memory_bookshop(make_bookshop) -> Bookshop:
    """A merchant in memory."""
    return make_bookshop()
