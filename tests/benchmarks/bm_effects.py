"""What payments, webhooks, deliveries and verification cost; run as a program it verifies and prints its memory."""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import json
import resource
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from attrs import frozen
from bm_contenders import _connect
from bm_recording import TABLES, short
from bm_shops import Database, buy, open_host

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.decisions import Publish
from evmbilling.domain.delivery import SinkProfile
from evmbilling.domain.events import Event, EventType
from evmbilling.domain.hints import sign_webhook
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.merchant import repeatable_secrets

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY = b"a relay of public knowledge only"
COMMIT = "COMMIT"
CLIENTS = 16
HELD = 0.05
"""Seconds that a host keeps its transaction open after the checkout."""
_WAITS = Waits(lock=60, pool=60, pool_size=CLIENTS + 4)


class Deaf:
    """A notifier that does nothing."""

    profile = SinkProfile()

    def notify(self, event: Event) -> None:
        pass


class Stand:
    """An engine on a stocked database, with a chain, a clock and ids that are the same every time."""

    def __init__(self, url: str, seed: str = "1") -> None:
        self.clock = FrozenClock(START)
        self.chain = FakeChain(31337, start=START)
        self.storage = SqlAlchemyStorage.open(url, clock=self.clock, waits=_WAITS)
        self.ids = SeededIds(seed, self.clock)
        self.engine = BillingEngine(
            storage=self.storage,
            clock=self.clock,
            ids=self.ids,
            secrets=repeatable_secrets(),
            sources=lambda _: self.chain,
            seal_key=b"s" * 32,
            relay_keys=(KEY,),
            notifiers={"deaf": Deaf()},
        )

    def pay(self, orders: int) -> None:
        """Let so many customers check out and pay; the chain is read, nothing is taken in."""
        for first in range(0, orders, 100):
            for number in range(first, min(first + 100, orders)):
                self.chain.pay(buy(self.engine, f"user-{number}").order)
            self.chain.mine(1)
        self.chain.mine(3)
        self.clock.set(self.chain.head.timestamp)
        while self.engine.read_chain("local").blocks:
            pass

    def take_in(self) -> None:
        while self.engine.run_intake().taken:
            pass

    def hint(self, number: int) -> None:
        body = json.dumps({"chain_id": 31337, "tx_hash": f"0x{number:064x}"}).encode()
        stamp = str(int(self.clock.now().timestamp()))
        headers = {"webhook-id": f"m{number}", "webhook-timestamp": stamp}
        headers["webhook-signature"] = sign_webhook(KEY, f"m{number}", stamp, body)
        self.engine.handle_webhook("relay", body, headers)

    def publish(self, events: int) -> None:
        now = self.clock.now()
        for first in range(0, events, 20):
            made = [
                Event(
                    event_id=self.ids.new_id(),
                    type=EventType.PAYMENT_CONFIRMED,
                    aggregate=f"customer:m{first}",
                    seq=number + 1,
                    occurred_at=now,
                    recorded_at=now,
                    data={"user_id": f"m{first}"},
                )
                for number in range(min(20, events - first))
            ]
            with self.storage.unit() as unit:
                unit.apply([Publish(event) for event in made])


@frozen
class Effect:
    """A kind of work: ``prepare`` makes the database ready, ``work`` is measured; both get the number."""

    name: str
    prepare: Callable[[Stand, int], None]
    work: Callable[[Stand, int], None]


EFFECTS = (
    Effect("payments applied", lambda stand, n: stand.pay(n), lambda stand, _: stand.take_in()),
    Effect("webhooks accepted", lambda stand, _: None, lambda stand, n: [stand.hint(i) for i in range(n)] and None),
)


@frozen
class Cost:
    """How an effect did against the driver that sends the same statements; statements and rows are of one item."""

    per_second: float
    raw_per_second: float
    statements: float
    rows: dict[str, float]
    kinds: dict[str, int]


def cost_of(effect: Effect, database: Database, items: int) -> Cost:
    """Record the effect on one copy, replay it on another, measure it on a third."""
    with _ready(effect, database, items) as (stand, url):
        before = _rows(url)
        with _heard(stand.storage._engine) as sent:
            effect.work(stand, items)
        after = _rows(url)
    with _ready(effect, database, items) as (stand, url):
        stand.engine.close()
        raw = _replayed(url, sent)
    with _ready(effect, database, items) as (stand, _):
        begun = time.perf_counter()
        effect.work(stand, items)
        took = time.perf_counter() - begun
    return Cost(
        per_second=items / took,
        raw_per_second=items / raw,
        statements=sum(statement != COMMIT for statement, _, _ in sent) / items,
        rows={name: (after[name] - before[name]) / items for name in after if after[name] != before[name]},
        kinds=dict(Counter(short(statement) for statement, _, _ in sent)),
    )


@contextmanager
def _ready(effect: Effect, database: Database, items: int) -> Iterator[tuple[Stand, str]]:
    with database.fresh() as url:
        stand = Stand(url)
        effect.prepare(stand, items)
        yield stand, url
        stand.engine.close()


@contextmanager
def _heard(engine: sa.Engine) -> Iterator[list[tuple[str, Any, bool]]]:
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


def _replayed(url: str, sent: list[tuple[str, Any, bool]]) -> float:
    """Return the seconds that the driver alone takes for the same."""
    connection = _connect(url)
    postgres = isinstance(connection, psycopg.Connection)
    begun = time.perf_counter()
    for text, parameters, many in sent:
        if text == COMMIT:
            connection.commit()
            continue
        raw = postgres and "%(" not in text and "%s" not in text
        cursor = psycopg.RawCursor(connection) if raw else connection.cursor()
        (cursor.executemany if many else cursor.execute)(text, parameters)
        if cursor.description is not None:
            cursor.fetchall()
    connection.commit()
    took = time.perf_counter() - begun
    connection.close()
    return took


def _rows(url: str) -> dict[str, int]:
    engine = open_host(url)
    with engine.connect() as connection:
        found = {
            table.name.removeprefix("evmbilling_"): connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in TABLES.metadata.sorted_tables
        }
    engine.dispose()
    return found


def deliveries_per_second(database: Database, events: int, workers: int) -> float:
    """Deliver events with so many workers, each a thread with an engine of its own."""
    with database.fresh() as url:
        stands = [Stand(url, str(number)) for number in range(workers)]
        stands[0].publish(events)

        def work(stand: Stand) -> None:
            while True:
                done = stand.engine.dispatch(limit=50)
                if not done.handed_out + done.delivered:
                    return

        took = _together([lambda stand=stand: work(stand) for stand in stands])
        with stands[0].storage.unit(write=False) as unit:
            left = [d for d in unit.deliveries(limit=events + 1) if d.state != "done"]
        for stand in stands:
            stand.engine.close()
    if left:
        raise AssertionError(f"{len(left)} deliveries are left")
    return events / took


def hosts_per_second(url: str, each: int, *, sealing: bool, mark: str) -> tuple[float, int]:
    """Let clients check out in transactions that stay open for a while; return the rate and the rows sealed."""
    stand, host = Stand(url, mark), open_host(url)
    stop, sealed = threading.Event(), 0

    def client(number: int) -> None:
        for turn in range(each):
            with host.begin() as connection, stand.engine.within(connection) as billing:
                buy(billing, f"{mark}-{number}-{turn}")
                time.sleep(HELD)

    def sealer() -> None:
        nonlocal sealed
        while not stop.is_set():
            sealed += stand.engine.seal().sealed
            stop.wait(0.1)

    beside = threading.Thread(target=sealer)
    if sealing:
        beside.start()
    try:
        took = _together([lambda number=number: client(number) for number in range(CLIENTS)])
    finally:
        stop.set()
        if sealing:
            beside.join()
    stand.engine.close()
    host.dispose()
    return CLIENTS * each / took, sealed


def _together(works: list[Callable[[], None]]) -> float:
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.perf_counter() - begun


def measure_verify(url: str) -> dict[str, Any]:
    """Verify a database in this process, which has done nothing else."""
    storage = SqlAlchemyStorage.open(url)
    engine = BillingEngine(storage=storage, secrets=repeatable_secrets(), seal_key=b"s" * 32)
    idle = _peak_kib()
    begun = time.perf_counter()
    report = engine.verify(full=True)
    took = time.perf_counter() - begun
    peak = _peak_kib()
    engine.close()
    return {
        "seconds": took,
        "idle_kib": idle,
        "peak_kib": peak,
        "counts": report.counts,
        "differences": dict(Counter(d.code for d in report.differences)),
    }


def _peak_kib() -> int:
    """Return the most memory that this program held; getrusage would count its parent's until the exec."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    print(json.dumps(measure_verify(sys.argv[1])))
