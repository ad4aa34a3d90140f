"""The folder: whatever happened, and however often it looked, the figures are what the facts come to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from fractions import Fraction

import attrs
import pytest
from figure_bench import FINANCE, Shop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.books.figure_records import RecordFigures
from evmbilling.domain.books.ledger import Account, Entry, EntryKind, Line
from evmbilling.domain.books.movements import Series
from evmbilling.domain.decisions import PostEntry
from evmbilling.engine.books.folding import LEASE, READER
from evmbilling.engine.core import Engine
from evmbilling.errors import BillingError
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.drain import drain
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import simulated_merchant
from sampling import examples


def a_year_of_business(shop: Shop, **folding) -> None:
    """New, renewed, late, refunded, reorganised, ended."""
    shop.shop.buy("user-1")
    shop.fold(**folding)
    shop.shop.chain.reorganise(4)
    shop.settle(1)
    shop.fold(**folding)
    shop.shop.buy("user-2", plan="yearly")
    shop.shop.buy("user-3", plan="weekly", quantity=2)
    shop.shop.buy("user-1")
    shop.shop.buy("user-1", plan="pack")
    shop.settle(30)
    shop.later(days=33)
    shop.fold(**folding)
    shop.engine.cancel_subscription(shop.engine.subscriptions("user-2")[-1].subscription_id, when="now")
    shop.engine.release_revenue()
    shop.later(days=40)
    shop.engine.release_revenue()
    shop.fold(**folding)


@pytest.mark.parametrize("limit", [10_000, 1])
def test_figures_are_what_the_facts_come_to(shop, limit):
    a_year_of_business(shop, limit=limit)
    shop.check()
    assert {row.status: row.subscriptions for row in shop.overview.subscriptions()}["ended"] == 1


def test_sums_are_made_anew_the_same(shop):
    a_year_of_business(shop)
    before, moves = shop.stored()
    report = shop.report(by="month")
    assert shop.engine.rebuild_figures() == len(moves)
    assert shop.stored() == (before, moves)
    assert shop.report(by="month") == report
    shop.fold()
    shop.check()


def test_a_closed_month_is_reproduced_by_what_was_known_then(shop):
    shop.shop.buy("user-1")
    shop.fold()
    known = {}
    for days in (1, 20, 12):
        asked = {"by": "day", "as_of": shop.now}
        known[shop.now] = shop.report(**asked)
        assert known[shop.now] == shop.report(by="day", until=shop.now), "what is known now is everything"
        shop.later(days=days)
        shop.shop.buy(f"user-{days + 1}", plan="yearly")
        shop.engine.release_revenue()
        shop.fold()
    shop.shop.chain.reorganise(4)
    shop.settle(1)
    shop.fold()
    for at, report in known.items():
        assert shop.report(by="day", as_of=at) == report


def test_a_reorganisation_moves_figures_back(shop):
    shop.shop.buy()
    shop.fold()
    (row,) = shop.overview.mrr()
    assert (row.new.base_units, row.end.base_units, row.customers) == (19_990_000, 19_990_000, 1)
    (money,) = shop.overview.revenue()
    assert (money.received, money.payments, money.billed) == (19_990_000, 1, 19_990_000)
    shop.shop.chain.reorganise(4)
    shop.settle(1)
    shop.fold()
    assert shop.overview.mrr() == ()
    assert shop.overview.revenue() == ()
    assert shop.overview.summary().customers == 0
    taken_back = [m for m in shop.stored()[1] if m.series == Series.MRR_NEW]
    assert [m.amount for m in taken_back] == [19_990_000, -19_990_000]
    assert len({m.occurred_at for m in taken_back}) == 1, "the opposite has the time of what it takes back"
    shop.check()


def test_test_networks_never_count(open_shop):
    shop = open_shop(testnet=True)
    shop.shop.buy()
    shop.settle(30)
    shop.fold()
    assert shop.overview.mrr() == ()
    assert shop.overview.revenue() == ()
    assert shop.overview.transactions() == ()
    summary = shop.overview.summary()
    assert (summary.money, summary.customers, summary.subscriptions) == ((), 0, ())
    assert shop.engine.number_receipts().issued == 0


def test_refunds_and_money_of_nobody(memory_shop):
    shop = memory_shop
    shop.paid = shop.shop.buy()
    shop.sent = None
    refund = shop.ready(amount=5_000_000, via="transfer")
    shop.send(refund)
    shop.settle()
    shop.fold()
    (money,) = shop.overview.tokens()
    assert (money.refunded, money.refunds, money.revenue) == (5_000_000, 1, -5_000_000)
    shop.check()


def entry(shop: Shop, name: str, *, recorded_at) -> Entry:
    """Money that came in, as far as the books are concerned."""
    lines = (
        Line(account=Account.TREASURY, owner="treasury:1", side="debit", amount=5),
        Line(account=Account.SUSPENSE, owner="-", side="credit", amount=5),
    )
    return Entry(
        entry_id=name,
        source=f"test:{name}",
        kind=EntryKind.RECEIVED,
        asset=shop.shop.token,
        lines=lines,
        occurred_at=recorded_at,
        recorded_at=recorded_at,
    )


def test_what_is_committed_late_is_found(shop):
    """An id and a time from before the commit say nothing about when a row can be seen."""
    shop.write(PostEntry(entry(shop, "z", recorded_at=shop.now)))
    shop.fold()
    shop.write(PostEntry(entry(shop, "a", recorded_at=shop.now - timedelta(minutes=14))))
    assert shop.engine.fold().entries == 1
    shop.write(PostEntry(entry(shop, "b", recorded_at=shop.now - timedelta(hours=3))))
    assert shop.engine.fold().entries == 0, "longer than any transaction of ours is open"
    shop.later(days=1)
    shop.fold()
    shop.check()


def test_one_of_two_folders_works(shop):
    shop.shop.buy()
    other = Engine(attrs.evolve(shop.engine._ports, worker="other"))
    lease = shop.engine._ports.storage.acquire_lease(LEASE, "other", 60)
    assert shop.engine.fold().busy
    shop.engine._ports.storage.release_lease(lease)
    assert other.fold().folded > 0
    shop.fold()
    shop.check()


def test_a_folder_whose_lease_ran_out_adds_nothing_twice(shop):
    """Another one was faster: the row that says how far it is decides."""
    shop.shop.buy()
    storage = shop.engine._ports.storage
    real = shop.engine._runner.write
    raced = []

    def race(work):
        if not raced:
            raced.append(True)

            def late(unit):
                state = unit.figure_state(READER)
                unit.apply([RecordFigures(state=attrs.evolve(state, version=state.version + 2))])

            return real(late)
        return real(work)

    shop.engine._runner.write = race
    assert shop.engine.fold().busy
    del shop.engine._runner.write
    shop.fold()
    shop.check()
    assert storage.acquire_lease(LEASE, "somebody", 1) is not None


def test_many_folders_at_once(open_shop):
    shop = open_shop("postgres")
    for user in range(6):
        shop.shop.buy(f"user-{user}")
    engines = [Engine(attrs.evolve(shop.engine._ports, worker=f"w{n}")) for n in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda engine: [engine.fold(limit=2) for _ in range(8)], engines))
    shop.fold()
    shop.check()


def test_quarters_give_way_to_hours_after_90_days(shop):
    shop.shop.buy()
    shop.fold()
    count = len(shop.read(lambda unit: unit.figure_cells("quarter")))
    assert count > 0
    report = shop.report(by="day", zone="Asia/Kolkata", as_of=shop.now)
    asked = {"by": "day", "zone": "Asia/Kolkata", "as_of": shop.now}
    shop.shop.clock.advance(timedelta(days=95))
    shop.fold()
    assert shop.read(lambda unit: unit.figure_cells("quarter")) == []
    assert shop.report(**asked) == report, "the end within an hour is read from movements"
    shop.check()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("buy"), st.sampled_from(["user-1", "user-2"]), st.sampled_from(["pro", "yearly", "weekly", "pack"])
        ),
        st.tuples(st.just("reorganise"), st.integers(1, 12), st.sampled_from(["drop", "reinclude", "reorder"])),
        st.tuples(st.just("later"), st.sampled_from([1, 8, 32]), st.booleans()),
        st.tuples(st.just("late"), st.sampled_from(["user-1", "user-3"]), st.just(None)),
        st.tuples(st.just("end"), st.sampled_from(["user-1", "user-2"]), st.just(None)),
        st.tuples(st.just("twice"), st.sampled_from(["user-1", "user-2"]), st.just(None)),
        st.tuples(st.just("fold"), st.integers(1, 7), st.just(None)),
        st.tuples(st.just("look"), st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]), st.just(None)),
    ),
    min_size=4,
    max_size=14,
)


class Random:
    """Does what is drawn; what the shop refuses does not happen."""

    def __init__(self) -> None:
        chain = FakeChain(31337, start=FrozenClock().now(), seed=1, safe_lag=8, finalized_lag=16)
        self.shop = Shop(simulated_merchant(seed=1, chain=chain))
        self.orders = {}
        self.seen = []
        self.keys = iter(range(10_000))

    def buy(self, user, plan):
        try:
            offer = self.shop.shop.checkout(user, plan=plan, idempotency_key=f"k{next(self.keys)}")
        except BillingError:
            return
        self.shop.shop.chain.pay(offer.order)
        self.orders[user] = offer.order
        self.shop.settle()

    def reorganise(self, depth, mode):
        self.shop.shop.chain.reorganise(min(depth, self.shop.shop.chain.head.number - 21), mode=mode)
        self.shop.settle(1)

    def later(self, days, releases):
        self.shop.later(days=days)
        if releases:
            self.shop.engine.release_revenue()

    def late(self, user, _):
        try:
            offer = self.shop.shop.checkout(user, plan="weekly", idempotency_key=f"k{next(self.keys)}")
        except BillingError:
            return
        self.shop.settle(2, seconds=3600)
        self.shop.shop.chain.pay(offer.order)
        self.shop.settle()

    def end(self, user, _):
        live = [s for s in self.shop.engine.subscriptions(user) if s.status in {"active", "past_due"}]
        if live:
            self.shop.engine.cancel_subscription(live[0].subscription_id, when="now")
            self.shop.settle(1)

    def twice(self, user, _):
        if user in self.orders:
            self.shop.shop.chain.pay(self.orders[user])
            self.shop.settle()

    def fold(self, limit, _):
        self.shop.engine.fold(limit=limit)

    def look(self, zone, _):
        self.shop.fold()
        asked = {"by": "day", "zone": zone, "as_of": self.shop.now}
        self.seen.append((asked, self.shop.report(**asked)))
        self.shop.settle(1)


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
def test_whatever_happens_figures_are_what_the_facts_come_to(actions):
    world = Random()
    for verb, first, second in actions:
        getattr(world, verb)(first, second)
    world.shop.fold()
    world.shop.check()
    for asked, report in world.seen:
        assert world.shop.report(**asked) == report
    for row in world.shop.overview.mrr(world.shop.overview.scope(by="week")):
        moved = row.new.exact + row.expansion.exact + row.reactivation.exact - row.contraction.exact - row.churn.exact
        assert row.start.exact + moved == row.end.exact
    ends = {(r.asset.chain_id, r.asset.token): r.end.exact for r in world.shop.overview.mrr() if r.end.exact}
    last = {key: amount for key, amount in world.shop.standing_mrr().items() if amount != Fraction(0)}
    assert {key: ends.get(key) for key in last} == last


def test_nothing_that_a_payment_writes_is_the_folders(memory_shop):
    """The hot path pays nothing: movements, sums and marks are the folder's alone."""
    memory_shop.shop.buy()
    cells, moves = memory_shop.stored()
    assert (cells, moves) == ({}, [])
    assert memory_shop.engine.overview(FINANCE).summary().money == ()
    assert isinstance(memory_shop.engine._ports.storage, MemoryStorage)


def test_draining_folds_when_it_is_asked_to(memory_shop):
    memory_shop.shop.buy()
    assert drain(memory_shop.engine).folded == 0
    assert drain(memory_shop.engine, fold=True).folded > 0
    memory_shop.check()
