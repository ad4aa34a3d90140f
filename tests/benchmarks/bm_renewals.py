"""What renewing costs: databases full of subscriptions that are due, and billers in processes of their own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import sqlalchemy as sa
from bm_clones import insertion
from bm_effects import _rows
from bm_shops import Database, open_host
from bm_wire import COMMIT, Call, Wire
from bm_worker import _peak_kib

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.rows import billing, chain, money, subscriptions
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.domain.catalogue.catalogue import Heights, SubscriptionPlan
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.mandates.charges import Cover
from evmbilling.domain.payments.receipts import Evidence, Receipt
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.reading.evidence import BlockHeader, Cursor
from evmbilling.domain.selling.orders import Completion, Order
from evmbilling.domain.states import OrderStatus, ReceiptStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.access import entitle_subscription
from evmbilling.domain.subscriptions.standing import standing
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.merchant import repeatable_secrets, wallet_of

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
DUE = START + timedelta(days=28)
BATCH = 200
CHUNK = 5_000
_IDLE = 5
"""How often nothing is found before a biller is done."""
_PATTERN = 987_654_321
"""The number of the customer whose rows are those of all others, but for the names in them."""
TABLES = build_tables(Names())
_WAITS = Waits(lock=60, pool=60, pool_size=2)


class Everybody:
    """Mandates of everybody (port ``Mandates``)."""

    def covers(self, unit: Any, held: Sequence[Subscription]) -> Mapping[str, Cover]:
        found = unit.orders_of_subscriptions([s.subscription_id for s in held])
        return {
            o.subscription_id: Cover(
                mandate_id=f"mandate of {o.user_id}",
                chain_id=o.chain_id,
                token=o.asset.token,
                payer=o.wallet,
                amount=o.amount,
            )
            for o in found
        }


def open_biller(url: str, worker: int = 0, *, pull: bool = False) -> tuple[BillingEngine, SqlAlchemyStorage]:
    """An engine whose clock stands an hour after everybody fell due."""
    clock = FrozenClock(DUE + timedelta(hours=1))
    storage = SqlAlchemyStorage.open(url, clock=clock, waits=_WAITS)
    engine = BillingEngine(
        storage=storage,
        clock=clock,
        ids=SeededIds(f"worker {worker}", clock),
        secrets=repeatable_secrets(),
        sources=lambda _: FakeChain(31337, start=START),
        mandates=Everybody() if pull else None,
    )
    return engine, storage


def bill(engine: BillingEngine, most: int = 10**9) -> int:
    """Renew until nothing is due, or so many are renewed; return how many orders were made."""
    opened = idle = 0
    while opened < most and idle < _IDLE:
        report = engine.run_renewals(limit=BATCH)
        opened += report.opened
        # What others hold at this moment is passed over: to find nothing once is not the end.
        idle = 0 if report.looked + report.left else idle + 1
        if idle:
            time.sleep(0.01)
    return opened


def fill(url: str, number: int, *, due_every: int = 1) -> None:
    """Let so many customers have paid a month that is over now; of ``due_every`` one is due, the others in a year."""
    host = open_host(url)
    storage = SqlAlchemyStorage.open(url, clock=FrozenClock(START))
    with storage.unit(write=False) as unit:
        plan = unit.plan("pro")
    storage.close()
    first = _template(plan)
    header = BlockHeader(number=10**6, hash=bytes(32), parent_hash=bytes(32), timestamp=DUE + timedelta(hours=1))
    cursor = Cursor(chain_id=31337, block=header, heights=Heights(head=10**6), fence=1, updated_at=START)
    with host.begin() as connection:
        connection.execute(sa.insert(TABLES["cursors"]), [chain.cursor_values(cursor)])
    postgres = host.dialect.name == "postgresql"
    models = {due: _Model(_customer(first, plan, _PATTERN, is_due=due), host.dialect) for due in (True, False)}
    wire = Wire(url)
    for begin in range(0, number, CHUNK):
        found = [models[n % due_every == 0].rows(n) for n in range(begin, min(begin + CHUNK, number))]
        wire.begin()
        for short in found[0]:
            wire.send([insertion(short, [rows[short] for rows in found], postgres=postgres)])
        wire.send([Call(COMMIT)])
    wire.close()
    if postgres:
        with host.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
    host.dispose()


class _Model:
    """The rows of one customer as the driver is given them, and again under other names."""

    def __init__(self, rows: Mapping[str, Mapping[str, Any]], dialect: Any) -> None:
        names = list(_names(_PATTERN))
        self._cells: dict[str, list[Any]] = {}
        self._places: dict[str, list[tuple[int, int]]] = {}
        for short, row in rows.items():
            columns = TABLES[short].c
            writers = [column.type.bind_processor(dialect) for column in columns]
            given = [row.get(column.name) for column in columns]
            cells = [value if write is None else write(value) for write, value in zip(writers, given, strict=True)]
            self._cells[short] = cells
            self._places[short] = [(at, names.index(cell)) for at, cell in enumerate(cells) if cell in names]

    def rows(self, number: int) -> dict[str, list[Any]]:
        """Return the rows of a customer by table."""
        names, found = _names(number), {}
        for short, cells in self._cells.items():
            found[short] = cells.copy()
            for at, name in self._places[short]:
                found[short][at] = names[name]
        return found


def _names(number: int) -> tuple[Any, ...]:
    """Return what is a customer's own: user, ids of subscription, order and receipt, a hash, a position in a block."""
    ids = [f"019c{part:04d}-0000-7000-8000-{number:012d}" for part in range(3)]
    return f"user-{number}", *ids, number.to_bytes(32), number


def _template(plan: SubscriptionPlan) -> Order:
    price = plan.prices[0]
    return Order(
        ledger_id="",
        reference=bytes(32),
        user_id="",
        product=plan.product,
        plan_slug=plan.slug,
        plan_version=plan.version,
        period=0,
        gateway_slug="main",
        contract_slug="checkout",
        network=price.network,
        asset=price.asset,
        quantity=1,
        lines=(),
        amount=price.amount,
        wallet=wallet_of("x"),
        beneficiary=wallet_of("x"),
        contract=wallet_of("contract"),
        treasury=wallet_of("treasury"),
        gas=300_000,
        created_at=START,
        deadline=START + timedelta(minutes=30),
        status=OrderStatus.FINAL,
    )


def _customer(first: Order, plan: SubscriptionPlan, number: int, *, is_due: bool) -> dict[str, dict[str, Any]]:
    """Return the rows of a customer with a subscription whose first period is paid."""
    user, *ids, word, _ = _names(number)
    evidence = Evidence(block_number=5, block_hash=word, block_time=START, log_index=number)
    paid = Completion(tx_hash=word, log_index=number, block_number=5, block_hash=word, confirmed_at=START)
    named = {"ledger_id": ids[1], "reference": word, "user_id": user, "subscription_id": ids[0], "completion": paid}
    order = attrs.evolve(first, **named)
    receipt = Receipt(
        receipt_id=ids[2],
        identity=CreditIdentity(31337, word, 0),
        ledger_id=ids[1],
        user_id=user,
        allocation="order",
        asset=order.asset,
        amount=order.amount,
        payer=order.wallet,
        treasury=order.treasury,
        evidence=evidence,
        status=ReceiptStatus.FINAL,
        first_seen_at=START,
    )
    held = Subscription(
        subscription_id=ids[0],
        user_id=user,
        product=plan.product,
        plan_slug=plan.slug,
        plan_version=plan.version,
        interval=plan.interval,
        quantity=1,
        zone="UTC",
        created_at=START,
        status=SubscriptionStatus.INCOMPLETE,
    )
    held = standing(held, [order], [receipt], [], START, policy=plan.dunning).subscription
    if not is_due:
        held = attrs.evolve(held, look_at=held.look_at + timedelta(days=365))
    entitlement = attrs.evolve(entitle_subscription(held, plan), told=plan.slug)
    return {
        "customers": billing.customer_values(Customer(user_id=user, created_at=START)),
        "subscriptions": subscriptions.subscription_values(held),
        "payment_transactions": billing.order_values(order),
        "payment_receipts": money.receipt_values(receipt),
        "entitlements": billing.entitlement_values(entitlement),
    }


def statements_of(database: Database, number: int, *, pull: bool) -> tuple[float, dict[str, float]]:
    """Return the statements and the rows of one renewal."""
    with database.fresh() as url:
        fill(url, number)
        before = _rows(url)
        engine, storage = open_biller(url, pull=pull)
        with _heard(storage._engine) as sent:
            made = bill(engine)
        engine.close()
        after = _rows(url)
    rows = {name: (after[name] - before[name]) / made for name in after if after[name] != before[name]}
    return sum(text != COMMIT for text, _, _ in sent) / made, rows


def renewals_per_second(url: str, workers: int, most: int, *, pull: bool) -> tuple[float, float, int, float]:
    """Let so many processes renew so many together.

    Returns the rate, the rate for each second of the workers' processor time, how much was made, and a worker's peak
    in MiB.
    """
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(workers) as pool:
        barrier = manager.Barrier(workers)
        done = pool.starmap(_work, [(url, worker, most // workers, pull, barrier) for worker in range(workers)])
    begun, ended = min(d[1] for d in done), max(d[2] for d in done)
    made = sum(d[0] for d in done)
    return made / (ended - begun), made / sum(d[4] for d in done), made, max(d[3] for d in done) / 1024


def _work(url: str, worker: int, most: int, pull: bool, barrier: Any) -> tuple[int, float, float, int, float]:
    engine, _ = open_biller(url, worker, pull=pull)
    barrier.wait()
    begun, spent = time.time(), time.process_time()
    made = bill(engine, most)
    ended, spent = time.time(), time.process_time() - spent
    engine.close()
    return made, begun, ended, _peak_kib(), spent


@contextmanager
def _heard(engine: sa.Engine) -> Iterator[list[tuple[str, Any, bool]]]:
    """Note every statement with its parameters, and every commit."""
    sent: list[tuple[str, Any, bool]] = []

    def statement(_connection: Any, _cursor: Any, text: str, parameters: Any, _context: Any, many: bool) -> None:
        sent.append((text, parameters, many))

    def commit(_connection: Any) -> None:
        sent.append((COMMIT, (), False))

    sa.event.listen(engine, "before_cursor_execute", statement)
    sa.event.listen(engine, "commit", commit)
    yield sent
    sa.event.remove(engine, "before_cursor_execute", statement)
    sa.event.remove(engine, "commit", commit)


def lookup_seconds(url: str, rounds: int) -> tuple[float, str]:
    """Return the median seconds to find and lock the next hundred that are due, and how the database finds them."""
    _, storage = open_biller(url)
    before, took = DUE + timedelta(hours=1), []
    for _ in range(rounds):
        with storage.unit() as unit:
            begun = time.perf_counter()
            assert len(unit.claim_due(31337, before, 100)) == 100
            took.append(time.perf_counter() - begun)
    plan = explain(storage)
    storage.close()
    return sorted(took)[rounds // 2], plan


def explain(storage: SqlAlchemyStorage) -> str:
    """Return how the database finds what is due."""
    with _heard(storage._engine) as sent, storage.unit() as unit:
        unit.claim_due(31337, DUE, 100)
    text, parameters = next((text, given) for text, given, _ in sent if "look_at" in text)
    with storage._engine.begin() as connection:
        how = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
        found = connection.exec_driver_sql(how + text, parameters)
        return "\n".join(str(row[-1]) for row in found)


def lines(rows: dict[str, float]) -> Iterator[str]:
    """Name what a renewal writes."""
    for name, count in sorted(rows.items()):
        yield f"{name} {count:.2f}"
