"""Databases full of figures, and the reports that are made of them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.migrating import upgrade
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.addresses import checksum
from evmbilling.domain.books.ledger import Account, Entry, EntryKind, Line
from evmbilling.domain.books.movements import NO_ASSET
from evmbilling.domain.decisions import PostEntry
from evmbilling.domain.money import Asset
from evmbilling.engine.books.folding import READER
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.merchant import ADMIN, SIGNER_KEY, open_merchant, repeatable_secrets, wallet_of

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
YEARS = timedelta(days=3 * 365)
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


def fill(engine: BillingEngine, orders: int) -> int:
    """Write so many orders of three years, their movements and the sums of these; return how many movements.

    The first order is the engine's. The database multiplies it and adds up, which takes a minute for a million orders
    where Python takes a quarter of an hour; :func:`rebuild` says whether the engine comes to the same sums.
    """
    storage = engine._ports.storage
    engine.rebuild_figures()  # of nothing yet: from when on there are sums by quarter of an hour
    with storage.unit(write=False) as unit:
        quarters_from = unit.figure_state(READER).quarters_from
    offer = engine.checkout(plan="pro", user_id="user-1", wallet=wallet_of("user-1"), idempotency_key="first")
    assets = [_asset(chain_id, number) for chain_id in CHAINS for number in range(TOKENS)]
    asked = {
        "like": offer.ledger_id,
        "orders": orders,
        "now": NOW,
        "years": YEARS,
        "chains": [asset.chain_id for asset in assets],
        "tokens": [asset.token for asset in assets],
        "symbols": [asset.symbol for asset in assets],
    }
    with storage._engine.begin() as connection:
        # The copies name the customer and plan of the first: nobody has to look each of them up.
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL work_mem = '256MB'")
        connection.execute(sa.text(_MAKE_FACTS), asked)
        own = sa.inspect(connection).get_columns("evmbilling_payment_transactions")
        names = [column["name"] for column in own]
        made = ", ".join(_MADE.get(name, f"first.{name}") for name in names)
        connection.execute(sa.text(_COPY_ORDERS.format(names=", ".join(names), made=made)), asked)
        moves = connection.execute(sa.text(_MAKE_MOVES)).rowcount
        connection.execute(sa.text(_MAKE_SUMS), {"quarters_from": quarters_from})
    _analyse(storage)
    return moves


def rebuild(engine: BillingEngine) -> float:
    """Let the engine make all sums anew; return the seconds that it took, once they are the ones that were there."""
    before = _sums(engine)
    started = time.perf_counter()
    engine.rebuild_figures()
    seconds = time.perf_counter() - started
    assert _sums(engine) == before, "the database has added up something else than the engine"
    return seconds


def _sums(engine: BillingEngine) -> list[Any]:
    with engine._ports.storage._engine.connect() as connection:
        return list(connection.exec_driver_sql("SELECT * FROM evmbilling_figure_sums ORDER BY 1, 2, 3, 4, 5, 6"))


_MAKE_FACTS = """
CREATE TEMPORARY TABLE facts AS
SELECT n, at, CASE WHEN n % 500 = 0 THEN at + interval '2 days' ELSE at END AS learned,
  asset.chain_id, asset.token, asset.symbol
FROM generate_series(0, :orders - 1) AS n
CROSS JOIN LATERAL (
  SELECT CAST(:now AS timestamptz) - CAST(:years AS interval) * ((:orders - n)::float8 / :orders) AS at
) AS made
JOIN unnest(CAST(:chains AS bigint[]), CAST(:tokens AS text[]), CAST(:symbols AS text[]))
  WITH ORDINALITY AS asset (chain_id, token, symbol, place)
  ON asset.place = n::bigint * 7 % cardinality(CAST(:tokens AS text[])) + 1
"""
_HEX_TIME = "lpad(to_hex((extract(epoch FROM fact.at) * 1000)::bigint), 12, '0')"
_MADE = {
    # As a UUIDv7 has it: the milliseconds first.
    "ledger_id": f"left({_HEX_TIME}, 8) || '-' || right({_HEX_TIME}, 4)"
    " || '-7000-8000-' || lpad(to_hex(fact.n), 12, '0')",
    "reference": "sha256(convert_to('order ' || fact.n, 'UTF8'))",
    "subscription_id": "NULL",
    "period": "NULL",
    "chain_id": "fact.chain_id",
    "token": "fact.token",
    "symbol": "fact.symbol",
    "decimals": "6",
    "created_at": "fact.at",
    "deadline": "fact.at",
    "status": "CASE WHEN fact.n % 5 = 0 THEN 'expired' ELSE 'final' END",
}
"""What orders have of their own, as SQL; everything else is as the first one has it."""
_COPY_ORDERS = """
INSERT INTO evmbilling_payment_transactions ({names})
SELECT {made} FROM facts AS fact, evmbilling_payment_transactions AS first WHERE first.ledger_id = :like ORDER BY fact.n
"""
_MAKE_MOVES = f"""
INSERT INTO evmbilling_figure_moves
  (source, seq, series, chain_id, token, decimals, symbol, per, amount, items, occurred_at, recorded_at, late)
SELECT 'event:' || lpad(fact.n::text, 9, '0'), moved.seq, moved.series,
  CASE WHEN moved.owned THEN fact.chain_id ELSE {NO_ASSET.chain_id} END,
  CASE WHEN moved.owned THEN fact.token ELSE '{NO_ASSET.token}' END,
  CASE WHEN moved.owned THEN 6 ELSE {NO_ASSET.decimals} END,
  CASE WHEN moved.owned THEN fact.symbol ELSE '{NO_ASSET.symbol}' END,
  moved.per, moved.amount, moved.items, fact.at, fact.learned, fact.learned > fact.at
FROM facts AS fact
CROSS JOIN LATERAL (VALUES
  (0, 'received', true, 1, '19990000', 1, 1),
  (1, 'billed', true, 1, '19990000', 1, 1),
  (2, 'tax', true, 1, '3190000', 0, 1),
  (3, 'revenue', true, 1, '16800000', 0, 1),
  (4, (ARRAY['mrr_new', 'mrr_expansion', 'mrr_churn', 'mrr_new', 'mrr_contraction'])[fact.n / 10 % 5 + 1],
    true, CASE WHEN fact.n % 20 = 0 THEN 1 ELSE 12 END, '1999', 1, 10),
  (5, 'payers', true, 1, '0', 1, 10),
  (6, 'customers', false, 1, '0', 1, 10),
  (7, 'in_active', false, 1, '0', 1, 10)
) AS moved (seq, series, owned, per, amount, items, every)
WHERE fact.n % moved.every = 0
ORDER BY fact.n, moved.seq
"""


_MAKE_SUMS = """
INSERT INTO evmbilling_figure_sums
  (grain, starts_at, series, chain_id, token, per, decimals, symbol, amount, items)
SELECT place.grain, place.start, series, chain_id, token, per, decimals, symbol,
  CAST(sum(CAST(amount AS numeric)) AS text), sum(items)
FROM evmbilling_figure_moves
CROSS JOIN LATERAL (VALUES
  ('quarter', date_bin('15 minutes', occurred_at, 'epoch')),
  ('hour', date_trunc('hour', occurred_at, 'UTC')),
  ('day', date_trunc('day', occurred_at, 'UTC')),
  ('month', date_trunc('month', occurred_at, 'UTC')),
  ('ever', CAST('epoch' AS timestamptz))
) AS place (grain, start)
WHERE place.grain <> 'quarter' OR occurred_at >= :quarters_from
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""


def _analyse(storage: Any) -> None:
    """Let the database know what it holds, as it does by itself after a while."""
    with storage._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def _asset(chain_id: int, number: int) -> Asset:
    token = checksum(hashlib.sha256(f"{chain_id} {number}".encode()).digest()[:20])
    return Asset(chain_id=chain_id, token=token, decimals=6, symbol=f"T{number}")


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
        with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
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
