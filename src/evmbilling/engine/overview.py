"""The overview (row F4): what finance sees, read from sums, for the role ``finance_ops``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.calendar import parse_instant, parse_zone
from evmbilling.domain.figure_records import LONG_AGO
from evmbilling.domain.movements import MONEY_SERIES, MRR_SERIES, STATUS_PREFIX, Move, Series
from evmbilling.domain.overview import (
    DebtRow,
    FinalityRow,
    MoneyRow,
    MrrRow,
    Scope,
    StatusRow,
    Summary,
    TransactionRow,
    debt_rows,
    money_rows,
    mrr_rows,
    status_rows,
    stock_of,
)
from evmbilling.domain.report_spans import STEPS, Span, Step, check_reported, default_since, spans_of
from evmbilling.domain.rollups import Cell, Cover, Grain, Sum, cover, cover_until, start_of, total_of
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.engine.admin_base import check_actor
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.folding import READER
from evmbilling.engine.health import networks_health
from evmbilling.engine.owing import debts
from evmbilling.engine.readers import one_of
from evmbilling.errors import InputError
from evmbilling.ports.storage import Unit

PAYING_SERIES = (*MRR_SERIES, Series.PAYERS)
STATUS_SERIES = tuple(STATUS_PREFIX + status for status in SubscriptionStatus)


class Overview:
    """One actor, looking at the figures. Every report says in its ``scope`` how new they are."""

    def __init__(self, ports: Ports, runner: Runner, actor: Actor) -> None:
        check_actor(actor)
        self._ports = ports
        self._runner = runner
        self._actor = actor

    def scope(
        self,
        *,
        by: Step = "day",
        zone: str = "UTC",
        since: datetime | None = None,
        until: datetime | None = None,
        as_of: datetime | None = None,
    ) -> Scope:
        """Return what a report with these arguments is about; all reports take them.

        Args:
            by: what a row is: ``day``, ``week`` (from Monday) or ``month``.
            zone: IANA zone in which these begin.
            since, until: what the report covers, in whole rows; the last 30 days, 13 weeks or 12 months otherwise.
            as_of: what was known at this instant of what had happened by then: the same report for ever, once it is
                older than ``complete_at`` by a quarter of an hour.

        Raises:
            PermissionDenied: the actor has not the role ``finance_ops``.
            InputError: an argument cannot be used.

        """
        self._actor.require(Role.FINANCE_OPS)
        step: Step = one_of("by", STEPS)(by)
        place = parse_zone(zone, field="zone")
        known = None if as_of is None else check_reported(parse_instant(as_of, field="as_of"), field="as_of")
        asked = None if until is None else check_reported(parse_instant(until, field="until"), field="until")
        end = asked or known or self._ports.clock.now()
        begin = default_since(end, place, step) if since is None else parse_instant(since, field="since")
        spans_of(begin, end, place, step)
        complete_at = self._runner.read(lambda unit: unit.figure_state(READER)).complete_at
        return Scope(zone=place, by=step, since=begin, until=end, as_of=known, complete_at=complete_at)

    def summary(self, scope: Scope | None = None) -> Summary:
        """Return everything at a glance: the whole stretch as one, and how subscriptions stand at its end."""
        scope = self._checked(scope)
        return self._runner.read(lambda unit: self._summary(unit, scope))

    def revenue(self, scope: Scope | None = None) -> tuple[MoneyRow, ...]:
        """Return money by day, week or month, and by asset."""
        scope = self._checked(scope)

        def read(unit: Unit) -> tuple[MoneyRow, ...]:
            figures, spans = _Figures(unit, scope), _spans(scope)
            sums = figures.spans(spans, MONEY_SERIES)
            return tuple(row for span, found in zip(spans, sums, strict=True) for row in money_rows(span, found))

        return self._runner.read(read)

    def tokens(self, scope: Scope | None = None) -> tuple[MoneyRow, ...]:
        """Return the money of the whole stretch by asset: chain and token."""
        scope = self._checked(scope)
        return self._runner.read(lambda unit: _whole(_Figures(unit, scope), scope))

    def networks(self, scope: Scope | None = None) -> Mapping[str, tuple[MoneyRow, ...]]:
        """Return the money of the whole stretch by network, and there by asset."""
        scope = self._checked(scope)

        def read(unit: Unit) -> Mapping[str, tuple[MoneyRow, ...]]:
            names = {network.chain_id: network.name for network in unit.networks()}
            found: dict[str, tuple[MoneyRow, ...]] = {}
            for row in _whole(_Figures(unit, scope), scope):
                name = names.get(row.asset.chain_id, str(row.asset.chain_id))
                found[name] = (*found.get(name, ()), row)
            return found

        return self._runner.read(read)

    def mrr(self, scope: Scope | None = None) -> tuple[MrrRow, ...]:
        """Return MRR with its five movements, ARPU and churn, by day, week or month, and by asset."""
        scope = self._checked(scope)
        return self._runner.read(lambda unit: _mrr(_Figures(unit, scope), _spans(scope)))

    def subscriptions(self, scope: Scope | None = None) -> tuple[StatusRow, ...]:
        """Return how many subscriptions stand in each status at the end of the stretch."""
        scope = self._checked(scope)
        return self._runner.read(lambda unit: status_rows(_Figures(unit, scope).until(scope.until, STATUS_SERIES)))

    def transactions(self, scope: Scope | None = None) -> tuple[TransactionRow, ...]:
        """Return how the orders that were made in the stretch stand now, by network; ``as_of`` does not hold here."""
        scope = self._checked(scope)

        def read(unit: Unit) -> tuple[TransactionRow, ...]:
            names = {n.chain_id: n.name for n in unit.networks() if not n.testnet}
            return tuple(
                TransactionRow(status=count.status, network=names[count.chain_id], orders=count.orders)
                for count in unit.order_counts(scope.since, scope.until)
                if count.chain_id in names
            )

        return self._runner.read(read)

    def debt(self) -> tuple[DebtRow, ...]:
        """Return what is owed now by asset and age: since 0, 7, 30, 60 and 90 days."""
        self._actor.require(Role.FINANCE_OPS)
        now = self._ports.clock.now()
        return self._runner.read(lambda unit: debt_rows(debts(unit, now)))

    def finality(self) -> tuple[FinalityRow, ...]:
        """Return how far each network is read, and how far what is irreversible is behind its head. Asks no node."""
        self._actor.require(Role.FINANCE_OPS)
        now = self._ports.clock.now()
        return tuple(
            FinalityRow(
                network=health.network,
                read=health.read,
                read_time=health.read_time,
                lag=health.finality_lag,
                behind=None if health.read_time is None else max(int((now - health.read_time).total_seconds()), 0),
                halted=health.halted,
            )
            for health in networks_health(self._ports, self._runner)
        )

    def _checked(self, scope: Scope | None) -> Scope:
        """Return a scope of :meth:`scope`, the default one when none is given."""
        self._actor.require(Role.FINANCE_OPS)
        if scope is None:
            return self.scope()
        if not isinstance(scope, Scope):
            raise InputError("what a report is about comes from scope(…)", field="scope")
        return scope

    def _summary(self, unit: Unit, scope: Scope) -> Summary:
        figures = _Figures(unit, scope)
        whole = _whole_span(scope)
        at_end = figures.until(whole.end, (Series.CUSTOMERS, *STATUS_SERIES))
        return Summary(
            scope=scope,
            money=_whole(figures, scope),
            mrr=_mrr(figures, [whole]),
            customers=sum(one.items for one in at_end if one.series == Series.CUSTOMERS),
            subscriptions=status_rows(at_end),
        )


def _spans(scope: Scope) -> tuple[Span, ...]:
    return spans_of(scope.since, scope.until, scope.zone, scope.by)


def _whole_span(scope: Scope) -> Span:
    spans = _spans(scope)
    return Span(start=spans[0].start, end=spans[-1].end, label=spans[0].label)


def _whole(figures: _Figures, scope: Scope) -> tuple[MoneyRow, ...]:
    span = _whole_span(scope)
    (sums,) = figures.spans([span], MONEY_SERIES)
    return money_rows(span, sums)


def _mrr(figures: _Figures, spans: Sequence[Span]) -> tuple[MrrRow, ...]:
    before = stock_of(figures.until(spans[0].start, PAYING_SERIES))
    return mrr_rows(spans, before, figures.spans(spans, PAYING_SERIES))


class _Figures:
    """Reads sums of spans for one report, in one transaction. Test networks never count."""

    def __init__(self, unit: Unit, scope: Scope) -> None:
        self._unit = unit
        self._as_of = scope.as_of
        self._quarters_from = unit.figure_state(READER).quarters_from
        self._left_out = {network.chain_id for network in unit.networks() if network.testnet}
        self._ends: dict[tuple[datetime, datetime, tuple[str, ...]], Sequence[Move]] = {}

    def spans(self, spans: Sequence[Span], series: Collection[str]) -> list[list[Sum]]:
        """Return what each of consecutive spans comes to."""
        known = [(self._cut(span.start), self._cut(span.end)) for span in spans]
        covers = [cover(start, end, quarters_from=self._quarters_from) for start, end in known]
        later = self._later(known[0][0], known[-1][1], series)
        read = self._read(covers, series)
        return [
            self._total(one, read, series, [m for m in later if start <= m.occurred_at < end])
            for one, (start, end) in zip(covers, known, strict=True)
        ]

    def until(self, at: datetime, series: Collection[str]) -> list[Sum]:
        """Return what everything that happened before an instant comes to."""
        at = self._cut(at)
        one = cover_until(at, quarters_from=self._quarters_from)
        later = self._later(LONG_AGO, at, series)
        return self._total(one, self._read([one], series), series, later)

    def _cut(self, at: datetime) -> datetime:
        """Nothing that happened after ``as_of`` was known then; what happened in that very microsecond was."""
        return at if self._as_of is None else min(at, self._as_of + timedelta(microseconds=1))

    def _later(self, since: datetime, until: datetime, series: Collection[str]) -> Sequence[Move]:
        """Return movements of a stretch that were not known at ``as_of``: those of other days, and of its own day."""
        if self._as_of is None or since >= until:
            return ()
        asked = {"series": series, "recorded_after": self._as_of}
        today = max(since, start_of("day", self._as_of))
        found = list(self._unit.figure_moves(since=since, until=until, late=True, **asked))  # type: ignore[arg-type]  # names of the port
        if today < until:
            found += self._unit.figure_moves(since=today, until=until, late=False, **asked)  # type: ignore[arg-type]  # names of the port
        return found

    def _read(self, covers: Sequence[Cover], series: Collection[str]) -> Mapping[tuple[Grain, datetime], list[Cell]]:
        wanted: dict[Grain, set[datetime]] = defaultdict(set)
        for one in covers:
            for grain, start in one.cells:
                wanted[grain].add(start)
        found: dict[tuple[Grain, datetime], list[Cell]] = {}
        months = [one.from_month for one in covers if one.from_month is not None]
        for grain, starts in wanted.items():
            if grain != "month" or not months:
                self._sort_in(found, grain, self._unit.figure_cells(grain, starts=starts, series=series))
        if months:
            self._sort_in(found, "month", self._unit.figure_cells("month", since=min(months), series=series))
        return found

    def _sort_in(self, found: dict[tuple[Grain, datetime], list[Cell]], grain: Grain, cells: Iterable[Cell]) -> None:
        """Put sums of a grain, which come in order, under where they start; a report reads thousands of them."""
        for start, group in groupby(cells, key=attrgetter("starts_at")):
            found[grain, start] = [cell for cell in group if cell.asset.chain_id not in self._left_out]

    def _total(
        self,
        one: Cover,
        read: Mapping[tuple[Grain, datetime], list[Cell]],
        series: Collection[str],
        later: Iterable[Move],
    ) -> list[Sum]:
        moves = [
            move
            for begin, end, _ in one.ends
            for move in self._end(begin, end, tuple(series))
            if move.asset.chain_id not in self._left_out
        ]
        unknown = [move for move in later if move.asset.chain_id not in self._left_out]
        return total_of(one, read, moves, unknown)

    def _end(self, since: datetime, until: datetime, series: tuple[str, ...]) -> Sequence[Move]:
        """Return the movements of an end of a span; the next span begins with the same ones."""
        key = (since, until, series)
        if key not in self._ends:
            self._ends[key] = self._unit.figure_moves(since=since, until=until, series=series)
        return self._ends[key]
