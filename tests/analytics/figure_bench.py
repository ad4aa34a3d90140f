"""A merchant on a network that counts, the figures as reports show them, and the same figures from the facts alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import attrs
from figure_facts import mrr_of
from refunds_bench import Desk

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.books.ledger import Entry
from evmbilling.domain.books.movements import Move, moves_of_entry
from evmbilling.domain.books.mrr import PAYING, READ_EVENTS, follow, monthly
from evmbilling.domain.books.overview import Scope
from evmbilling.domain.books.rollups import add_up
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.engine.books.folding import READER, _Prices
from evmbilling.testing.merchant import ADMIN, plan_fields

FINANCE = Actor("finance", frozenset({Role.FINANCE_OPS}))
EVERYBODY = Actor("anybody")


class Shop(Desk):
    """A desk whose network is no test network, with plans of several prices and lengths."""

    def __init__(self, merchant: Any, *, testnet: bool = False) -> None:
        self.shop, self.engine = merchant, merchant.engine
        merchant.settle(25)
        admin = self.engine.admin(ADMIN)
        if not testnet:
            admin.update_network(merchant.network, version=1, testnet=False)
        for slug, unit, product in (("yearly", "year", "api"), ("weekly", "week", "feed")):
            admin.create_plan(**plan_fields(merchant, slug, interval=unit, product=product))
        self.ops = self.engine.refunds(FINANCE)
        self.overview = self.engine.overview(FINANCE)

    @property
    def now(self) -> datetime:
        return self.shop.clock.now()

    def settle(self, blocks: int = 3, **how: Any) -> None:
        self.shop.settle(blocks, **how)

    def read(self, work: Any) -> Any:
        with self.engine._ports.storage.unit(write=False) as unit:
            return work(unit)

    def write(self, *decisions: Any) -> None:
        with self.engine._ports.storage.unit() as unit:
            unit.apply(decisions)

    def fold(self, limit: int = 10_000) -> None:
        """Fold until there is nothing more."""
        while True:
            report = self.engine.fold(limit=limit)
            assert not report.busy
            if report.complete_at is not None:
                return

    def report(self, **how: Any) -> tuple[Any, ...]:
        """Everything that a report of these arguments says, but how new it is."""
        face = self.overview
        scope: Scope = face.scope(**how)
        summary = attrs.evolve(face.summary(scope), scope=None)
        return (
            summary,
            face.revenue(scope),
            face.mrr(scope),
            face.tokens(scope),
            face.networks(scope),
            face.subscriptions(scope),
        )

    def stored(self) -> tuple[Mapping[Any, Any], list[Move]]:
        """The sums and the movements as they are stored; sums of nothing are as good as none."""

        def work(unit: Any) -> Any:
            grains = ("quarter", "hour", "day", "month", "ever")
            cells = {cell.key: cell for grain in grains for cell in unit.figure_cells(grain)}
            return cells, list(unit.all_figure_moves(limit=1_000_000))

        cells, moves = self.read(work)
        return {key: (cell.amount, cell.items) for key, cell in cells.items() if cell.amount or cell.items}, moves

    def scratch(self) -> tuple[Mapping[Any, Any], list[Move]]:
        """The sums and the movements as they follow from ledger entries and journals, all read at once."""

        def work(unit: Any) -> Any:
            entries: list[Entry] = list(unit.ledger_entries(limit=1_000_000))
            events = [e for e in unit.events(limit=1_000_000) if e.type in READ_EVENTS]
            return entries, events, unit.figure_state(READER).quarters_from, _Prices(unit, events)

        entries, events, quarters_from, prices = self.read(work)
        moves = [move for entry in entries for move in moves_of_entry(entry)]
        known: dict[str, Any] = defaultdict(dict)
        for event in sorted(events, key=lambda e: (e.aggregate, e.seq)):
            known[event.aggregate], moved = follow(known[event.aggregate], event, prices.orders.get, prices.of_terms)
            moves += moved
        cells = add_up(moves, quarters_from=quarters_from)
        sums = {key: (cell.amount, cell.items) for key, cell in cells.items() if cell.amount or cell.items}
        return sums, sorted(moves, key=lambda m: (m.source, m.seq))

    def standing_mrr(self) -> Mapping[tuple[int, str], Fraction]:
        """MRR as the subscriptions stand: the newest paid period of each that is active or past due."""

        def work(unit: Any) -> Any:
            users = [c.user_id for c in unit.customers(limit=1000)]
            held = [s for user in users for s in unit.subscriptions_of_user(user)]
            return [(s, unit.orders_of_subscriptions([s.subscription_id])) for s in held]

        total: dict[tuple[int, str], Fraction] = defaultdict(Fraction)
        for subscription, orders in self.read(work):
            paid = [o for o in orders if o.status in PAID_ORDERS and o.period is not None]
            if subscription.status in PAYING and paid:
                newest = max(paid, key=lambda o: (o.period, o.ledger_id))
                total[(newest.chain_id, newest.asset.token)] += monthly(newest.amount, subscription.interval)
        return {key: amount for key, amount in total.items() if amount}

    def check(self) -> None:
        """Compare what is stored with the facts, and MRR with the subscriptions."""
        stored, moves = self.stored()
        expected, derived = self.scratch()
        assert sorted(moves, key=lambda m: (m.source, m.seq)) == derived
        assert stored == expected
        assert mrr_of(moves) == self.standing_mrr()

    def later(self, **units: float) -> None:
        """Time goes by."""
        self.shop.advance(timedelta(**units))
