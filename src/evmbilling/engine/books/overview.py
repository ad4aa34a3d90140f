"""The overview (row F4): what finance sees, read from sums, for the role ``finance_ops``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

from attrs import frozen

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.books.figure_records import LONG_AGO
from evmbilling.domain.books.movements import MONEY_SERIES, MRR_SERIES, STATUS_PREFIX, Move, Series
from evmbilling.domain.books.overview import (
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
from evmbilling.domain.books.report_spans import STEPS, Span, Step, check_reported, default_since, spans_of
from evmbilling.domain.books.rollups import Cover, cover, cover_until, start_of
from evmbilling.domain.books.span_totals import Part, Total, parts_of, sums_of, with_moves
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import parse_instant, parse_zone
from evmbilling.engine.admin.base import check_actor
from evmbilling.engine.admin.readers import one_of
from evmbilling.engine.books.folding import READER
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.subscriptions.owing import debts
from evmbilling.engine.watching.health import networks_health
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
            spans = _spans(scope)
            totals = _Figures(unit, scope).totals([_during(span, MONEY_SERIES) for span in spans])
            return tuple(row for span, found in zip(spans, totals, strict=True) for row in money_rows(span, found))

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

        def read(unit: Unit) -> tuple[MrrRow, ...]:
            spans = _spans(scope)
            sums = [sums_of(found) for found in _Figures(unit, scope).totals(_paying(spans))]
            return mrr_rows(spans, stock_of(sums[0]), sums[1:])

        return self._runner.read(read)

    def subscriptions(self, scope: Scope | None = None) -> tuple[StatusRow, ...]:
        """Return how many subscriptions stand in each status at the end of the stretch."""
        scope = self._checked(scope)
        asked = [_Asked(until=scope.until, series=STATUS_SERIES)]
        return self._runner.read(lambda unit: status_rows(sums_of(*_Figures(unit, scope).totals(asked))))

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
        whole = _whole_span(scope)
        standing = _Asked(until=whole.end, series=(Series.CUSTOMERS, *STATUS_SERIES))
        asked = [standing, _during(whole, MONEY_SERIES), *_paying([whole])]
        standing_then, money, *paying = _Figures(unit, scope).totals(asked)
        at_end, before, flow = (sums_of(found) for found in (standing_then, *paying))
        return Summary(
            scope=scope,
            money=money_rows(whole, money),
            mrr=mrr_rows([whole], stock_of(before), [flow]),
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
    return money_rows(span, *figures.totals([_during(span, MONEY_SERIES)]))


@frozen(kw_only=True)
class _Asked:
    """Sums that a report asks for: of what happened in ``[since, until)``, or of everything before ``until``."""

    since: datetime | None = None
    until: datetime
    series: tuple[str, ...]


def _during(span: Span, series: tuple[str, ...]) -> _Asked:
    return _Asked(since=span.start, until=span.end, series=series)


def _paying(spans: Sequence[Span]) -> list[_Asked]:
    """Ask for what MRR is made of: everything before the first of consecutive spans, and each of them."""
    before = _Asked(until=spans[0].start, series=PAYING_SERIES)
    return [before, *(_during(span, PAYING_SERIES) for span in spans)]


class _Figures:
    """Reads all sums of one report, in one transaction. Test networks never count."""

    def __init__(self, unit: Unit, scope: Scope) -> None:
        self._unit = unit
        self._as_of = scope.as_of
        self._quarters_from = unit.figure_state(READER).quarters_from
        self._left_out = {network.chain_id for network in unit.networks() if network.testnet}

    def totals(self, asked: Sequence[_Asked]) -> list[Sequence[Total]]:
        """Return what each comes to; they are read together, so that a report asks the database a few times only."""
        known = [self._known(one) for one in asked]
        covers = [self._cover(one) for one in known]
        totals, ends, later = self._totals(known, covers), self._ends(known, covers), self._later(known)
        return [
            with_moves(place, totals[place], [*_at_ends(one, spans, ends), *_taken_away(one, later)])
            for place, (one, spans) in enumerate(zip(known, covers, strict=True))
        ]

    def _known(self, asked: _Asked) -> _Asked:
        """Nothing that happened after ``as_of`` was known then; what happened in that very microsecond was."""
        if self._as_of is None:
            return asked
        end = self._as_of + timedelta(microseconds=1)
        since = None if asked.since is None else min(asked.since, end)
        return _Asked(since=since, until=min(asked.until, end), series=asked.series)

    def _cover(self, asked: _Asked) -> Cover:
        if asked.since is None:
            return cover_until(asked.until, quarters_from=self._quarters_from)
        return cover(asked.since, asked.until, quarters_from=self._quarters_from)

    def _totals(self, asked: Sequence[_Asked], covers: Sequence[Cover]) -> Mapping[int, Sequence[Total]]:
        """Read what all covers come to: those that ask for the same series at once; by their place in what is asked."""
        parts: dict[tuple[str, ...], list[Part]] = defaultdict(list)
        for place, (one, spans) in enumerate(zip(asked, covers, strict=True)):
            parts[one.series] += parts_of(place, spans)
        found: dict[int, list[Total]] = defaultdict(list)
        for series, of_series in parts.items():
            for total in self._unit.figure_totals(of_series, series) if of_series else ():
                if total[2] not in self._left_out:
                    found[total[0]].append(total)
        return found

    def _ends(
        self, asked: Sequence[_Asked], covers: Sequence[Cover]
    ) -> Mapping[tuple[datetime, datetime], Sequence[Move]]:
        """Read the movements of the ends of all covers; most spans have none, and neighbours have the same ones."""
        stretches = {(begin, end) for spans in covers for begin, end, _ in spans.ends}
        names = _series_of(asked)
        return {
            (begin, end): self._counted(self._unit.figure_moves(since=begin, until=end, series=names))
            for begin, end in sorted(stretches)
        }

    def _later(self, asked: Sequence[_Asked]) -> Sequence[Move]:
        """Read movements that were not known at ``as_of``: those of other days, and of its own day."""
        if self._as_of is None:
            return ()
        since = min(LONG_AGO if one.since is None else one.since for one in asked)
        until = max(one.until for one in asked)
        read, names, today = self._unit.figure_moves, _series_of(asked), start_of("day", self._as_of)
        late = read(since=since, until=until, late=True, series=names, recorded_after=self._as_of)
        same_day = read(since=max(since, today), until=until, late=False, series=names, recorded_after=self._as_of)
        return self._counted(chain(late, same_day))

    def _counted(self, moves: Iterable[Move]) -> list[Move]:
        return [move for move in moves if move.asset.chain_id not in self._left_out]


def _at_ends(
    asked: _Asked, spans: Cover, ends: Mapping[tuple[datetime, datetime], Sequence[Move]]
) -> Iterator[tuple[int, Move]]:
    """Give the movements in the ends of a span, each with 1 or -1."""
    for begin, end, sign in spans.ends:
        yield from ((sign, move) for move in ends[begin, end] if move.series in asked.series)


def _series_of(asked: Sequence[_Asked]) -> Collection[str]:
    return {name for one in asked for name in one.series}


def _taken_away(asked: _Asked, later: Iterable[Move]) -> Iterator[tuple[int, Move]]:
    """Give the movements of a span that were not known then."""
    for move in later:
        happened = move.occurred_at < asked.until and (asked.since is None or asked.since <= move.occurred_at)
        if happened and move.series in asked.series:
            yield -1, move
