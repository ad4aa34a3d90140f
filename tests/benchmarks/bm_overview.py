"""Databases full of figures, and the reports that are made of them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import sqlalchemy as sa
from attrs import frozen

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.system import uuid7_text
from evmbilling.domain.addresses import checksum
from evmbilling.domain.decisions import OpenOrder, PostEntry
from evmbilling.domain.figure_records import RecordFigures
from evmbilling.domain.ledger import Account, Entry, EntryKind, Line
from evmbilling.domain.money import Asset
from evmbilling.domain.movements import NO_ASSET, Move
from evmbilling.domain.orders import Order
from evmbilling.domain.states import OrderStatus
from evmbilling.engine.folding import READER
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY, open_merchant, repeatable_secrets, wallet_of

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
YEARS = timedelta(days=3 * 365)
CHUNK = 10_000
CHAINS, TOKENS = (1, 10, 137), 10
ZONE = "Europe/Berlin"
REPORTS = (
    ("summary, 30 days", "summary", "day"),
    ("summary, 12 months", "summary", "month"),
    ("revenue by day, 30", "revenue", "day"),
    ("revenue by month, 12", "revenue", "month"),
    ("tokens, 12 months", "tokens", "month"),
    ("networks, 12 months", "networks", "month"),
    ("MRR by day, 30", "mrr", "day"),
    ("MRR by month, 12", "mrr", "month"),
    ("subscriptions", "subscriptions", "day"),
    ("transactions of 30 days", "transactions", "day"),
    ("summary as known a year ago", "summary", "past"),
    ("debt", "debt", ""),
    ("finality", "finality", ""),
)


def open_figures(url: str) -> BillingEngine:
    """A shop with three networks that count, and nothing sold yet."""
    upgrade(url)
    clock = FrozenClock(NOW)
    storage = SqlAlchemyStorage.open(url, clock=clock, waits=Waits(lock=60, pool=60, pool_size=2))
    engine = BillingEngine(
        storage=storage,
        clock=clock,
        ids=SeededIds("figures", clock),
        secrets=repeatable_secrets(),
        sources=lambda network: FakeChain(network.chain_id, start=NOW),
        clock_tolerance=None,
    )
    addresses = {name: checksum(name.encode().rjust(20, b"\1")) for name in ("contract", "token", "treasury")}
    open_merchant(engine, chain_id=CHAINS[0], rpc_url="http://127.0.0.1:9", signer=SIGNER_KEY, **addresses)
    admin = engine.admin(ADMIN)
    admin.update_network("local", version=1, testnet=False)
    for chain_id in CHAINS[1:]:
        admin.create_network(name=f"chain-{chain_id}", chain_id=chain_id, rpc_urls=["http://127.0.0.1:9"])
    return engine


def fill(engine: BillingEngine, orders: int) -> tuple[int, float]:
    """Write so many orders of three years with their movements; return how many, and how long all sums took."""
    storage = engine._ports.storage
    offer = engine.checkout(plan="pro", user_id="user-1", wallet=wallet_of("user-1"), idempotency_key="first")
    assets = [_asset(chain_id, number) for chain_id in CHAINS for number in range(TOKENS)]
    moves = 0
    for first in range(0, orders, CHUNK):
        numbers = range(first, min(first + CHUNK, orders))
        made = [_moves(n, _when(n, orders), assets[n * 7 % len(assets)]) for n in numbers]
        flat = [move for several in made for move in several]
        moves += len(flat)
        with storage.unit() as unit:
            state = unit.figure_state(READER)
            unit.apply([OpenOrder(_order(offer.order, n, orders, assets[n * 7 % len(assets)])) for n in numbers])
            unit.apply([RecordFigures(state=attrs.evolve(state, version=state.version + 1), moves=tuple(flat))])
    started = time.perf_counter()
    engine.rebuild_figures()
    seconds = time.perf_counter() - started
    _analyse(storage)
    return moves, seconds


def _when(number: int, orders: int) -> datetime:
    """Spread the orders over the years; the product of a million and three years is more than a timedelta holds."""
    return NOW - YEARS * ((orders - number) / orders)


def _analyse(storage: Any) -> None:
    """Let the database know what it holds, as it does by itself after a while."""
    with storage._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _asset(chain_id: int, number: int) -> Asset:
    token = checksum(hashlib.sha256(f"{chain_id} {number}".encode()).digest()[:20])
    return Asset(chain_id=chain_id, token=token, decimals=6, symbol=f"T{number}")


def _order(like: Order, number: int, orders: int, asset: Asset) -> Order:
    at = _when(number, orders)
    stamp = int(at.timestamp() * 1000) << 74 | number
    return attrs.evolve(
        like,
        ledger_id=uuid7_text(stamp),
        reference=hashlib.sha256(f"order {number}".encode()).digest(),
        subscription_id=None,
        period=None,
        asset=asset,
        created_at=at,
        deadline=at,
        status=OrderStatus.EXPIRED if number % 5 == 0 else OrderStatus.FINAL,
    )


def _moves(number: int, at: datetime, asset: Asset) -> list[Move]:
    """What an order of a subscription moves: money, revenue, and now and then MRR."""
    wanted: list[tuple[str, Asset, int, int, int]] = [
        ("received", asset, 1, 19_990_000, 1),
        ("billed", asset, 1, 19_990_000, 1),
        ("tax", asset, 1, 3_190_000, 0),
        ("revenue", asset, 1, 16_800_000, 0),
    ]
    if number % 10 == 0:
        series = ("mrr_new", "mrr_expansion", "mrr_churn", "mrr_new", "mrr_contraction")[number // 10 % 5]
        wanted += [(series, asset, 12 if number % 20 else 1, 1_999, 1), ("payers", asset, 1, 0, 1)]
        wanted += [("customers", NO_ASSET, 1, 0, 1), ("in_active", NO_ASSET, 1, 0, 1)]
    learned = at + timedelta(days=2) if number % 500 == 0 else at
    return [
        Move(
            source=f"event:{number:09d}",
            seq=seq,
            series=series,
            asset=owner,
            per=per,
            amount=amount,
            items=items,
            occurred_at=at,
            recorded_at=learned,
        )
        for seq, (series, owner, per, amount, items) in enumerate(wanted)
    ]


def reports_of(engine: BillingEngine) -> Iterator[tuple[str, Callable[[], object]]]:
    """Give each report by name, ready to be made."""
    face = engine.overview(ADMIN)
    for title, name, by in REPORTS:
        if not by:
            yield title, getattr(face, name)
            continue
        past = {"as_of": NOW - timedelta(days=365)} if by == "past" else {}
        how = {"by": "month" if by == "past" else by, "zone": ZONE, **past}
        yield title, lambda name=name, how=how: getattr(face, name)(face.scope(**how))


@frozen(kw_only=True)
class Took:
    """Milliseconds of a report: the 95th percentile by the clock, and processor time here and in the database.

    On a machine that does other work the clock says how busy that is; the processor times say what a report costs.
    """

    p95: float
    own: float
    database: float


class DatabaseCpu:
    """The processor time of all sessions of a database on this machine."""

    def __init__(self, url: str) -> None:
        with sa.create_engine(url).connect() as connection:
            asked = sa.text("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
            self._pids = [int(pid) for pid in connection.scalars(asked)]

    def seconds(self) -> float:
        ticks = 0
        for pid in self._pids:
            stat = Path(f"/proc/{pid}/stat")
            if stat.exists():
                fields = stat.read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def measure_report(report: Callable[[], object], rounds: int, database: DatabaseCpu) -> Took:
    """Make a report over and over."""
    report()
    served = database.seconds()
    took, cpu = [], time.process_time()
    for _ in range(rounds):
        started = time.perf_counter()
        report()
        took.append(time.perf_counter() - started)
    return Took(
        p95=sorted(took)[int(rounds * 0.95) - 1] * 1000,
        own=(time.process_time() - cpu) / rounds * 1000,
        database=(database.seconds() - served) / rounds * 1000,
    )


def fold_rate(engine: BillingEngine, entries: int) -> float:
    """Post ledger entries and fold them; return how many a second."""
    storage, asset = engine._ports.storage, _asset(1, 0)
    lines = (
        Line(account=Account.TREASURY, owner="treasury:1:t", side="debit", amount=5),
        Line(account=Account.SUSPENSE, owner="-", side="credit", amount=5),
    )
    for first in range(0, entries, 1_000):
        posted = [
            Entry(
                entry_id=f"e{n:09d}",
                source=f"s{n}",
                kind=EntryKind.RECEIVED,
                asset=asset,
                lines=lines,
                occurred_at=NOW - timedelta(seconds=n),
                recorded_at=NOW - timedelta(seconds=entries - n),
            )
            for n in range(first, min(first + 1_000, entries))
        ]
        with storage.unit() as unit:
            unit.apply([PostEntry(entry) for entry in posted])
    started = time.perf_counter()
    folded = engine.fold(limit=entries + 100).folded
    return folded / (time.perf_counter() - started)
