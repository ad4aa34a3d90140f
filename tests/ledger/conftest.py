"""Merchants whose books are looked at, over the three storages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from attrs import frozen
from ledger_records import SEAL_KEY

from evmbilling.engine.core import Engine
from evmbilling.engine.verify.report import Report
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import SimulatedMerchant, simulated_merchant


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


@pytest.fixture
def make_bookshop(open_database) -> Callable[..., Bookshop]:
    """Open a merchant over a storage by name."""

    def make(backend: str = "memory", *, seed: int = 1) -> Bookshop:
        chain = FakeChain(31337, start=FrozenClock().now(), seed=seed, safe_lag=8, finalized_lag=16)
        storage = open_database(backend, FrozenClock(chain.head.timestamp))
        place = None if backend == "memory" else storage._engine.url.render_as_string(hide_password=False)
        merchant = simulated_merchant(seed=seed, storage=storage, chain=chain)
        engine = Engine(attrs.evolve(merchant.engine._ports, seal_key=SEAL_KEY))
        return Bookshop(merchant=merchant, engine=engine, storage=storage, place=place)

    return make


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def bookshop(request, make_bookshop) -> Bookshop:
    """A merchant over each storage."""
    return make_bookshop(request.param)


@pytest.fixture
def memory_bookshop(make_bookshop) -> Bookshop:
    """A merchant in memory."""
    return make_bookshop()
