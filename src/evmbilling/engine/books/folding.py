"""The folder: derives movements from what was committed, and adds them up.

Payments and hosts' transactions write nothing for it: it finds ledger entries and events that it has not taken in. What
it writes is its own, in one transaction with the row that says how far it is; that row's version lets one of two
folders win, so that a worker whose lease ran out adds nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction

import attrs
from attrs import frozen

from evmbilling.domain.books.figure_records import LONG_AGO, FigureState, JournalMark, RecordFigures
from evmbilling.domain.books.movements import Move, moves_of_entry
from evmbilling.domain.books.mrr import READ_EVENTS, CustomerFigures, Price, follow, monthly, recurring_price
from evmbilling.domain.books.rollups import GRAINS, Adding, Cell, CellKey, add_up, joined, keeps_quarters_from
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.books.journals import look_from, sweeps
from evmbilling.engine.context import Ports, Runner
from evmbilling.errors import AlreadyExists, VersionConflict
from evmbilling.ports.crash import crash_point
from evmbilling.ports.storage import Unit

LEASE = "figures"
LEASE_SECONDS = 60
READER = "figures"
PAGE = 500
REBUILD_PAGE = 5_000
EVENTS_OF_ONE = 200
"""Events of one journal that are read at once."""


@frozen(kw_only=True)
class FoldReport:
    """What one call of the folder did.

    Attributes:
        entries, events: facts that were taken in. moves: movements that they made.
        complete_at: until when everything that was recorded by then is taken in; None while there is more.
        busy: another worker is at it; nothing was done.

    """

    entries: int = 0
    events: int = 0
    moves: int = 0
    complete_at: datetime | None = None
    busy: bool = False

    @property
    def folded(self) -> int:
        """How many facts were taken in."""
        return self.entries + self.events


def fold_figures(ports: Ports, runner: Runner, *, limit: int) -> FoldReport:
    """Take in up to ``limit`` facts; see :meth:`evmbilling.engine.worker_steps.WorkerSteps.fold`."""
    lease = ports.storage.acquire_lease(LEASE, ports.worker, LEASE_SECONDS)
    if lease is None:
        return FoldReport(busy=True)
    total = FoldReport()
    try:
        while True:
            most = min(PAGE, limit - total.folded)
            done = runner.write(lambda unit, most=most: _fold(ports, unit, most))  # type: ignore[misc]  # bound now
            crash_point("fold.page")
            total = FoldReport(
                entries=total.entries + done.entries,
                events=total.events + done.events,
                moves=total.moves + done.moves,
                complete_at=done.complete_at,
            )
            if done.complete_at is not None or total.folded >= limit:
                break
            ports.storage.acquire_lease(LEASE, ports.worker, LEASE_SECONDS)
    except (AlreadyExists, VersionConflict):
        # A worker whose lease had run out, or who holds it now, was faster: what it added is as good as ours.
        total = attrs.evolve(total, busy=True)
    finally:
        ports.storage.release_lease(lease)
    if total.moves:
        ports.telemetry.count("figures_folded", total.folded)
    return total


@frozen(kw_only=True)
class _Taken:
    """Facts of a page. ``complete`` is whether there were no more of them; ``reached`` how far it came otherwise."""

    moves: Sequence[Move] = ()
    marks: Sequence[JournalMark] = ()
    facts: int = 0
    complete: bool = False
    reached: datetime = LONG_AGO


def _fold(ports: Ports, unit: Unit, limit: int) -> FoldReport:
    """Take in a page of facts in one transaction."""
    now = ports.clock.now()
    state = unit.figure_state(READER)
    entries = _take_entries(unit, look_from(state.entries_from), limit)
    events = _take_events(unit, look_from(state.events_from), limit - entries.facts)
    complete = entries.complete and events.complete
    swept = False
    if complete and sweeps(state, now) and not entries.facts + events.facts:
        entries, events = _take_entries(unit, LONG_AGO, limit), _take_events(unit, LONG_AGO, limit)
        complete = swept = entries.complete and events.complete
    after = attrs.evolve(
        state,
        entries_from=max(now if entries.complete else entries.reached, state.entries_from),
        events_from=max(now if events.complete else events.reached, state.events_from),
        swept_at=now if swept else state.swept_at,
        complete_at=max(now, state.complete_at) if complete else state.complete_at,
        quarters_from=max(keeps_quarters_from(now), state.quarters_from),
        version=state.version + 1,
    )
    moves = [*entries.moves, *events.moves]
    _record(unit, state, after, moves, events.marks)
    return FoldReport(
        entries=entries.facts,
        events=events.facts,
        moves=len(moves),
        complete_at=after.complete_at if complete and (swept or not sweeps(state, now)) else None,
    )


def _take_entries(unit: Unit, since: datetime, limit: int) -> _Taken:
    """Take in ledger entries."""
    entries = unit.unfolded_entries(since, limit)
    return _Taken(
        moves=tuple(move for entry in entries for move in moves_of_entry(entry)),
        facts=len(entries),
        complete=len(entries) < limit,
        reached=entries[-1].recorded_at if entries else LONG_AGO,
    )


def _take_events(unit: Unit, since: datetime, limit: int) -> _Taken:
    """Take in events of up to so many journals, a part of each."""
    if limit <= 0:
        return _Taken()
    journals = unit.unread_journals(READER, READ_EVENTS, since, limit)
    pages = [
        (mark, unit.journal_events(mark.aggregate, READ_EVENTS, after=mark.seq, limit=EVENTS_OF_ONE))
        for mark, _ in journals
    ]
    asked = _Prices(unit, [event for _, events in pages for event in events])
    read = [_follow_all(mark, events, asked) for mark, events in pages]
    whole = all(len(events) < EVENTS_OF_ONE for _, events in pages)
    firsts = [first for _, first in journals] or [LONG_AGO]
    return _Taken(
        moves=tuple(move for _, moves in read for move in moves),
        marks=tuple(mark for mark, _ in read),
        facts=sum(len(events) for _, events in pages),
        complete=whole and len(journals) < limit,
        reached=firsts[-1] if whole else firsts[0],
    )


def _follow_all(mark: JournalMark, events: Sequence[Event], asked: _Prices) -> tuple[JournalMark, Sequence[Move]]:
    """Read on in a journal; return its new mark, and what was moved."""
    figures: CustomerFigures = dict(mark.subscriptions)
    moves: list[Move] = []
    for event in events:
        figures, moved = follow(figures, event, asked.orders.get, asked.of_terms)
        moves += moved
    seq = events[-1].seq if events else mark.seq
    return attrs.evolve(mark, seq=seq, subscriptions=tuple(sorted(figures.items()))), moves


def _record(
    unit: Unit, before: FigureState, after: FigureState, moves: Sequence[Move], marks: Sequence[JournalMark]
) -> None:
    coarsen = after.quarters_from if after.quarters_from > before.quarters_from else None
    cells = add_up(moves, quarters_from=after.quarters_from)
    decision = RecordFigures(
        state=after,
        moves=tuple(moves),
        cells=tuple(joined(_stored(unit, cells), cells)),
        marks=tuple(marks),
        coarsen_before=coarsen,
    )
    unit.apply([decision])


def _stored(unit: Unit, cells: Mapping[CellKey, Cell]) -> Iterable[Cell]:
    """Return the sums that are there of these."""
    for grain in GRAINS:
        starts = {cell.starts_at for cell in cells.values() if cell.grain == grain}
        if starts:
            series = {cell.series for cell in cells.values() if cell.grain == grain}
            yield from unit.figure_cells(grain, starts=starts, series=series)


class _Prices:
    """What is looked up for some events: rows that never change, so that it does not matter when.

    Attributes:
        orders: the price a month behind each order that events name, of those that are of a subscription.

    """

    def __init__(self, unit: Unit, events: Sequence[Event]) -> None:
        named = {str(event.data["ledger_id"]) for event in events if event.data.get("ledger_id")}
        orders = [order for order in unit.orders(named).values() if order.subscription_id is not None]
        terms = {
            (str(event.data["new_plan"]), int(event.data["new_version"]))
            for event in events
            if event.type == EventType.SUBSCRIPTION_CHANGED
        }
        self._plans = unit.plan_versions({(order.plan_slug, order.plan_version) for order in orders} | terms)
        counting = {network.chain_id for network in unit.networks() if not network.testnet}
        self.orders: Mapping[str, Price] = {
            order.ledger_id: self._of_order(order, counts=order.chain_id in counting) for order in orders
        }

    def of_terms(self, plan: str, version: int, quantity: int, asset: Asset) -> Fraction | None:
        """Return what terms cost a month in an asset; None when the plan has no price in it."""
        found = self._plans.get((plan, version))
        own = None if found is None else next((p.amount for p in found.prices if p.asset == asset), None)
        return None if found is None or own is None else monthly(own * quantity, found.interval)

    def _of_order(self, order: Order, *, counts: bool) -> Price:
        plan = self._plans[(order.plan_slug, order.plan_version)]
        own = next((p.amount for p in plan.prices if p.network == order.network and p.asset == order.asset), None)
        return recurring_price(order, plan.interval, own, counts=counts)


def rebuild_figures(ports: Ports, runner: Runner) -> int:
    """Make all sums anew; see :meth:`evmbilling.engine.worker_steps.WorkerSteps.rebuild_figures`."""

    def rebuild(unit: Unit) -> int:
        now = ports.clock.now()
        state = unit.figure_state(READER)
        quarters_from = keeps_quarters_from(now)
        sums = Adding(quarters_from)
        counted, after = 0, ("", -1)
        while page := unit.all_figure_moves(after=after, limit=REBUILD_PAGE):
            sums.add(page)
            counted, after = counted + len(page), (page[-1].source, page[-1].seq)
        made = attrs.evolve(state, quarters_from=quarters_from, version=state.version + 1)
        unit.apply([RecordFigures(state=made, cells=tuple(sums.cells().values()), afresh=True)])
        return counted

    return runner.write(rebuild)
