"""A merchant on a database that fails, and what of its books has to be the same afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import SimulatedMerchant, simulated_merchant

START = FrozenClock().now()
WAITS = Waits(lock=1, pool_size=4)


def open_shop(place: Any = None, *, waits: Waits = WAITS) -> tuple[SimulatedMerchant, Any]:
    """Open a merchant on a URL, on an engine, or in memory; the same seed always."""
    chain = FakeChain(31337, start=START, seed=1, safe_lag=8, finalized_lag=16)
    clock = FrozenClock(START)
    if place is None:
        storage: Any = MemoryStorage(clock, instance_id=bytes(range(1, 9)))
    elif isinstance(place, str):
        storage = SqlAlchemyStorage.open(place, clock=clock, waits=waits)
    else:
        storage = SqlAlchemyStorage(place, clock=clock, waits=waits)
    return simulated_merchant(seed=1, storage=storage, chain=chain), storage


def sold_and_mined(shop: SimulatedMerchant, *users: str) -> None:
    """Let users pay; the money is deep enough and read, and not yet taken in."""
    for user in users:
        shop.chain.pay(shop.checkout(user).order)
    shop.chain.mine(3)
    shop.clock.set(max(shop.clock.now(), shop.chain.head.timestamp))
    while shop.engine.read_chain(shop.network).blocks:
        pass


def balances(storage: Any) -> dict[str, int]:
    """Return every account that does not hold 0, credit positive."""
    with storage.unit(write=False) as unit:
        entries = unit.ledger_entries(limit=100_000)
    totals: Counter[str] = Counter()
    for entry in entries:
        for line in entry.lines:
            totals[str(line.account)] += line.amount if line.side == "credit" else -line.amount
    return {account: amount for account, amount in totals.items() if amount}


def undisturbed(*users: str) -> dict[str, int]:
    """Return the balances of a merchant in memory whose customers paid the same and to whom nothing happened."""
    shop, storage = open_shop()
    sold_and_mined(shop, *users)
    shop.drain()
    return balances(storage)


def rows(place: str) -> dict[str, list[Any]]:
    """Return everything in our tables, by table."""
    engine = sa.create_engine(place)
    try:
        with engine.connect() as connection:
            names = [n for n in sa.inspect(connection).get_table_names() if n.startswith("evmbilling_")]
            return {n: sorted(map(repr, connection.execute(sa.text(f"SELECT * FROM {n}")))) for n in names}
    finally:
        engine.dispose()


def counts(place: str) -> dict[str, int]:
    """Return how many payments, receipts and their entries there are."""
    engine = sa.create_engine(place)
    question = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM evmbilling_{name}" for name in COUNTED)
    try:
        with engine.connect() as connection:
            return dict(map(tuple, connection.execute(sa.text(question))))
    finally:
        engine.dispose()


COUNTED = ("payment_transactions", "payment_receipts", "receipt_entries", "ledger_entries")


def assert_books(shop: SimulatedMerchant, storage: Any, *users: str) -> None:
    """Everybody has what was paid for, once: books, projections and journal agree, as if nothing had happened."""
    report = shop.engine.verify(full=True)
    assert report.ok, report.differences
    assert balances(storage) == undisturbed(*users)
    assert all(shop.engine.access(user).allowed for user in users)
    with storage.unit(write=False) as unit:
        orders = [order.ledger_id for user in users for order in unit.orders_of_user(user)]
        receipts = unit.receipts_of_orders(orders)
    assert len(orders) == len(receipts) == len(users)


class Before:
    """Does one thing before the first commit that follows, and another before each later one."""

    def __init__(self, first: Callable[[], object], later: Callable[[], object]) -> None:
        self._first = first
        self._later = later
        self.commits = 0

    def __call__(self, place: str) -> None:
        if place != "transaction.before_commit":
            return
        self.commits += 1
        (self._first if self.commits == 1 else self._later)()
