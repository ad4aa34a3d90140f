"""What payments, webhooks, deliveries and open transactions cost."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from statistics import median
from typing import Any

import sqlalchemy as sa
from attrs import frozen
from bm_bound import HandingStorage, NotingStorage, Told
from bm_clones import OFFERED, analyze, clone, model_of, wait_for_finality
from bm_recording import TABLES, short
from bm_shops import Database, buy, open_host
from bm_wire import COMMIT, Wire, wired

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.domain.decisions import Publish
from evmbilling.domain.messages.delivery import SinkProfile
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.messages.hints import sign_webhook
from evmbilling.factory import BillingEngine
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.ids import SeededIds
from evmbilling.testing.merchant import repeatable_secrets
from evmbilling.working import settle_collector

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY = b"a relay of public knowledge only"
ITEMS_OF_A_PAYMENT = 2
"""The contract's event and the token's transfer."""
CLIENTS = 16
HELD = 0.05
"""Seconds that a host keeps its transaction open after the checkout."""
PAID_BESIDE = 40
"""Payments that wait to be taken in while hosts hold their transactions."""
_WAITS = Waits(lock=60, pool=60, pool_size=CLIENTS + 4)


class Notifier:
    """A notifier that takes its time and does nothing else."""

    profile = SinkProfile()

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def notify(self, event: Event) -> None:
        if self._seconds:
            time.sleep(self._seconds)


class Stand:
    """An engine on a stocked database, with a chain, a clock and ids that are the same every time."""

    def __init__(
        self,
        url: str,
        seed: str = "1",
        *,
        at: datetime = START,
        notifying: float = 0,
        wrap: Callable[[SqlAlchemyStorage], Any] = lambda storage: storage,
    ) -> None:
        self.clock = FrozenClock(at)
        self.chain = FakeChain(31337, start=START)
        self.storage = SqlAlchemyStorage.open(url, clock=self.clock, waits=_WAITS)
        self.ids = SeededIds(seed, self.clock)
        self.engine = BillingEngine(
            storage=wrap(self.storage),
            clock=self.clock,
            ids=self.ids,
            secrets=repeatable_secrets(),
            sources=lambda _: self.chain,
            seal_key=b"s" * 32,
            relay_keys=(KEY,),
            notifiers={"notifier": Notifier(notifying)},
        )

    def pay(self, orders: int, mark: str = "user") -> None:
        """Let so many customers check out and pay; the chain is read, nothing is taken in."""
        for first in range(0, orders, 100):
            for number in range(first, min(first + 100, orders)):
                self.chain.pay(buy(self.engine, f"{mark}-{number}").order)
            self.chain.mine(1)
        self.chain.mine(3)
        self.clock.set(self.chain.head.timestamp)
        while self.engine.read_chain("local").blocks:
            pass

    def take_in(self) -> None:
        while self.engine.run_intake().taken:
            pass

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
    """A kind of work.

    Attributes:
        prepare: makes the database ready for so many items.
        warm: does the first of them, so that everything is compiled, prepared and connected.
        work: does the others, up to so many.

    """

    name: str
    prepare: Callable[[Stand, int], None]
    warm: Callable[[Stand], int]
    work: Callable[[Stand, int, int], None]


def _take_two(stand: Stand) -> int:
    return sum(stand.engine.run_intake().taken for _ in range(2)) // ITEMS_OF_A_PAYMENT


def _hint_ten(stand: Stand) -> int:
    _hint(stand, 0, 10)
    return 10


def _hint(stand: Stand, first: int, last: int) -> None:
    for number in range(first, last):
        stand.engine.handle_webhook("relay", *_signed(number, str(int(stand.clock.now().timestamp()))))


@cache
def _signed(number: int, stamp: str) -> tuple[bytes, dict[str, str]]:
    """A relay's webhook; made once, because making it is the relay's work."""
    body = json.dumps({"chain_id": 31337, "tx_hash": f"0x{number:064x}"}).encode()
    signature = sign_webhook(KEY, f"m{number}", stamp, body)
    return body, {"webhook-id": f"m{number}", "webhook-timestamp": stamp, "webhook-signature": signature}


EFFECTS = (
    Effect("payments applied", lambda stand, n: stand.pay(n), _take_two, lambda stand, *_: stand.take_in()),
    Effect("webhooks accepted", lambda _stand, _n: None, _hint_ten, _hint),
)


@frozen
class Rate:
    """Items per second: by the clock, and of this process's processor time, which other work bends less."""

    clock: float
    processor: float

    @classmethod
    def of(cls, items: int, work: Callable[[], None]) -> Rate:
        """Do some work, with the garbage collector as a worker's process has it."""
        thresholds = gc.get_threshold()
        settle_collector()
        clock, spent = time.perf_counter(), time.process_time()
        work()
        clock, spent = time.perf_counter() - clock, time.process_time() - spent
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        return cls(items / clock, items / spent)


@frozen
class Cost:
    """How an effect did.

    Attributes:
        per_second: items; the median of the rounds.
        to_bound: ratios within a round to the same rule on facts at hand, whose rows the driver writes alone.
        to_raw: to the driver that makes the same calls, reads too, and computes nothing; more is faster.
        to_bound_spent, to_raw_spent: the same ratios of processor time, a server's not counted.
        calls, rows: of one item; calls of the driver without BEGIN and COMMIT, rows that it was given to write.
        grown: rows that one item adds, by table.
        kinds: calls of the whole, by verb and table.

    """

    per_second: float
    to_bound: list[float]
    to_raw: list[float]
    to_bound_spent: list[float]
    to_raw_spent: list[float]
    calls: float
    rows: float
    grown: dict[str, float]
    kinds: dict[str, int]


def cost_of(effect: Effect, database: Database, items: int, rounds: int) -> Cost:
    """Record the effect on one copy of a prepared database, then let everybody take a turn on copies of their own."""
    with database.fresh() as prepared:
        stand = Stand(prepared)
        effect.prepare(stand, items)
        at = stand.clock.now()
        stand.engine.close()
        with database.copy(prepared) as url:
            units, grown = _recorded(effect, url, items, at)
        turns: dict[str, Callable[[str], Rate]] = {
            "ours": lambda url: _turn(effect, Stand(url, "2", at=at), items),
            "bound": lambda url: _bound_turn(effect, url, items, at, units),
            "raw": lambda url: _raw_turn(url, items, units),
        }
        rates: dict[str, list[Rate]] = {name: [] for name in turns}
        for round_ in range(rounds):
            for name in sorted(turns, key=lambda name: (list(turns).index(name) - round_) % len(turns)):
                with database.copy(prepared) as url:
                    rates[name].append(turns[name](url))
    calls = [call for told in units for call in told.calls if call.text != COMMIT]
    return Cost(
        per_second=median(rate.clock for rate in rates["ours"]),
        to_bound=[own.clock / other.clock for own, other in zip(rates["ours"], rates["bound"], strict=True)],
        to_raw=[own.clock / other.clock for own, other in zip(rates["ours"], rates["raw"], strict=True)],
        to_bound_spent=[o.processor / b.processor for o, b in zip(rates["ours"], rates["bound"], strict=True)],
        to_raw_spent=[o.processor / b.processor for o, b in zip(rates["ours"], rates["raw"], strict=True)],
        calls=sum(not call.text.startswith("BEGIN") for call in calls) / items,
        rows=sum(call.count for call in calls if call.writes) / items,
        grown={name: count / items for name, count in grown.items() if count},
        kinds=dict(Counter(short(call.text) for call in calls)),
    )


def _recorded(effect: Effect, url: str, items: int, at: datetime) -> tuple[list[Told], dict[str, int]]:
    before = _rows(url)
    units: list[Told] = []
    stand = Stand(url, "2", at=at, wrap=lambda storage: NotingStorage(storage, wired(storage._engine), units))
    effect.work(stand, effect.warm(stand), items)
    stand.engine.close()
    after = _rows(url)
    return units, {name: after[name] - before[name] for name in after}


def _turn(effect: Effect, stand: Stand, items: int) -> Rate:
    first = effect.warm(stand)
    rate = Rate.of(items - first, lambda: effect.work(stand, first, items))
    stand.engine.close()
    return rate


def _bound_turn(effect: Effect, url: str, items: int, at: datetime, units: list[Told]) -> Rate:
    wire = Wire(url)
    rate = _turn(effect, Stand(url, "2", at=at, wrap=lambda storage: HandingStorage(storage, units, wire)), items)
    wire.close()
    return rate


def _raw_turn(url: str, items: int, units: list[Told]) -> Rate:
    wire = Wire(url)
    calls = [call for told in units for call in told.calls]
    rate = Rate.of(items, lambda: wire.send(calls))
    wire.close()
    return rate


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


def cost_curve(
    database: Database, grow: Callable[[str, int, int], None], sizes: Sequence[int], payments: int, rounds: int
) -> dict[int, list[float]]:
    """Return what a payment costs in a database that grows, as ratios within a round to one in a small database.

    ``grow`` takes a database from one size to another.
    """
    found: dict[int, list[float]] = {}
    with database.fresh() as few, database.fresh() as many:
        stands = [Stand(url) for url in (few, many)]
        for stand, url in zip(stands, (few, many), strict=True):
            buy(stand.engine, "model")
            grow(url, 0, sizes[0])
        there = sizes[0]
        for size in sizes:
            grow(many, there, size)
            there = size
            analyze(few)
            ratios = []
            for round_ in range(rounds + 1):
                seconds = {}
                for stand in stands if round_ % 2 else reversed(stands):
                    stand.pay(payments, mark=f"{size}-{round_}")
                    begun = time.perf_counter()
                    stand.take_in()
                    seconds[stand] = time.perf_counter() - begun
                ratios.append(seconds[stands[1]] / seconds[stands[0]])
            found[size] = ratios[1:]  # everything is compiled, prepared and read once in the first
        for stand in stands:
            stand.engine.close()
    return found


def with_open_orders(url: str, there: int, size: int) -> None:
    """Add open orders of other customers than the model."""
    clone(url, model_of(url, "model", OFFERED), there, size)


def with_unfinal_money(url: str, there: int, size: int) -> None:
    """Add movements that wait until they are final."""
    wait_for_finality(url, 31337, size - there)


@frozen
class Held:
    """How hosts did: checkouts a second, and what was taken in, sealed and folded meanwhile."""

    per_second: float
    taken: int
    sealed: int
    folded: int


def hosts_per_second(stand: Stand, url: str, each: int, *, beside: Sequence[str], mark: str) -> Held:
    """Let clients check out in transactions that stay open for a while.

    Payments of others are taken in meanwhile whatever is ``beside``, so that there is something to seal and to fold.

    Args:
        stand: an engine on the database at ``url``.
        url: of the database.
        each: checkouts of one client.
        beside: the worker's steps that go on meanwhile, much oftener than a worker does them.
        mark: tells the customers from those of other calls.

    """
    stand.pay(PAID_BESIDE, f"{mark}-paid")
    host, stop, done = open_host(url), threading.Event(), Counter[str]()
    steps: dict[str, Callable[[], int]] = {
        "intake": lambda: stand.engine.run_intake(limit=2 * ITEMS_OF_A_PAYMENT).taken,
        "seal": lambda: stand.engine.seal().sealed,
        "fold": lambda: stand.engine.fold().folded,
    }

    def client(number: int) -> None:
        for turn in range(each):
            with host.begin() as connection, stand.engine.within(connection) as billing:
                buy(billing, f"{mark}-{number}-{turn}")
                time.sleep(HELD)

    def again_and_again(name: str) -> None:
        while not stop.is_set():
            done[name] += steps[name]()
            stop.wait(0.1)

    with ThreadPoolExecutor(len(steps)) as pool:
        running = [pool.submit(again_and_again, name) for name in ("intake", *beside)]
        try:
            took = _together([lambda number=number: client(number) for number in range(CLIENTS)])
        finally:
            stop.set()
    for one in running:
        one.result()
    host.dispose()
    return Held(CLIENTS * each / took, done["intake"], done["seal"], done["fold"])


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
