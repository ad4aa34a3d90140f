"""The desk's figures: MRR with what moved it, and revenue by network and token, as charts beside their numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from fractions import Fraction
from typing import TypeVar, cast
from urllib.parse import urlencode

from attrs import frozen
from markupsafe import Markup

from evmbilling.domain.books.figure_records import LONG_AGO
from evmbilling.domain.books.overview import MoneyRow, MrrRow, Scope
from evmbilling.domain.books.receipt_documents import display
from evmbilling.domain.books.report_spans import STEPS, Step, spans_of
from evmbilling.domain.money import Asset
from evmbilling.domain.subscriptions.calendar import parse_zone
from evmbilling.engine.books.overview import Overview
from evmbilling.errors import InputError
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.reading import query_of
from evmbilling.integrations.http.routes import Call, Parameter
from evmbilling.integrations.pages.charts import Chart, draw
from evmbilling.integrations.pages.desk_base import DeskTable, draw_desk, read_day, written
from evmbilling.integrations.pages.words import Words, desk_words

figure_pages = DeskTable()
R = TypeVar("R", MrrRow, MoneyRow)
MOVES = ("new", "expansion", "reactivation", "contraction", "churn")
"""What moves MRR; the last two take away."""
_AWAY = frozenset({"contraction", "churn"})
_MOST_TOKENS = 8
_MOST_COLUMNS = 92
"""A quarter of a year in days: drawing takes its time."""
_MOST_NETWORKS = 8
"""Drawn in colours of their own; the table of all tokens names the rest."""
_ASKED = ("by", "zone", "since", "until")
_SHORT: Mapping[str, slice] = {"day": slice(5, 10), "week": slice(5, 10), "month": slice(0, 7)}
"""What of a date stands below a column: month and day, or year and month."""


@frozen(kw_only=True)
class Table:
    """Numbers behind a chart: a head, and rows that begin with what they are about."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@frozen(kw_only=True)
class Figure:
    """A chart with its numbers; ``drawn`` is None where there is nothing to draw."""

    name: str
    kind: str
    drawn: Markup | None
    legend: Sequence[str]
    table: Table


@frozen(kw_only=True)
class TokenFigures:
    """Everything about what is called by one symbol, on all networks."""

    symbol: str
    mrr: str
    arpu: str | None
    customers: int
    churn: str | None
    figures: Sequence[Figure]


@figure_pages.get(
    "/figures", parameters=tuple(Parameter(name=name, text="What the figures are about.") for name in _ASKED)
)
def get_desk_figures(call: Call) -> Answer:
    """MRR, revenue, subscriptions and debt."""
    face, wrong = call.engine.overview(call.who), None
    try:
        scope = _scope(call, face)
    except InputError as error:
        scope, wrong = face.scope(by="month"), error
    return draw_desk(
        "desk_figures.html",
        call,
        here="figures",
        wrong=wrong,
        asked={name: query_of(call, name) or "" for name in _ASKED},
        by=scope.by,
        steps=STEPS,
        zone=scope.zone,
        fresh=scope.complete_at if scope.complete_at > LONG_AGO else None,
        sheets=[(name, _sheet(call, scope, name)) for name in ("mrr", "revenue", "tokens")],
        tokens=_tokens(call, face, scope),
        most=_MOST_TOKENS,
        money=[(network, _money(row)) for network, rows in face.networks(scope).items() for row in rows],
        subscriptions=face.subscriptions(scope),
        debt=[(row, written(row.amount, row.asset)) for row in face.debt()],
    )


def _scope(call: Call, face: Overview) -> Scope:
    """Read what is asked for; days are those of the zone, and the last one is whole.

    Raises:
        InputError: names the field.

    """
    zone = parse_zone((query_of(call, "zone") or "").strip() or "UTC", field="zone")
    until = read_day(call, "until", zone)
    scope = face.scope(
        by=cast("Step", query_of(call, "by") or "month"),
        zone=zone,
        since=read_day(call, "since", zone),
        until=None if until is None else until + timedelta(days=1),
    )
    if len(spans_of(scope.since, scope.until, scope.zone, scope.by)) > _MOST_COLUMNS:
        raise InputError("these are too many columns to draw; choose longer ones", field="by")
    return scope


def _sheet(call: Call, scope: Scope, report: str) -> str:
    """Return the address of a report of the same stretch for a spreadsheet."""
    asked = {"by": scope.by, "zone": scope.zone, "since": scope.since.isoformat(), "until": scope.until.isoformat()}
    return f"{call.options.prefix}/overview/{report}/csv?{urlencode(asked)}"


def _tokens(call: Call, face: Overview, scope: Scope) -> list[TokenFigures]:
    """Return the figures of each token, those with the most payments first."""
    words, summary = desk_words(call.language), face.summary(scope)
    names = {network.chain_id: network.name for network in call.engine.admin(call.who).networks()}
    paid: dict[str, int] = {row.asset.symbol: 0 for row in summary.mrr}
    for row in summary.money:
        paid[row.asset.symbol] = paid.get(row.asset.symbol, 0) + row.payments
    symbols = sorted(paid, key=lambda symbol: (-paid[symbol], symbol))[:_MOST_TOKENS]
    mrr, revenue = face.mrr(scope), face.revenue(scope)
    labels = [span.label for span in spans_of(scope.since, scope.until, scope.zone, scope.by)]
    return [
        _Drawing(words, names, scope.by, labels, symbol).token(
            [row for row in mrr if row.asset.symbol == symbol],
            [row for row in revenue if row.asset.symbol == symbol],
            [row for row in summary.mrr if row.asset.symbol == symbol],
        )
        for symbol in symbols
    ]


class _Drawing:
    """Draws what is about one symbol. Sums are exact; only the heights of columns are floats."""

    def __init__(self, words: Words, names: Mapping[int, str], by: Step, labels: Sequence[str], symbol: str) -> None:
        self._t, self._names, self._symbol = words, names, symbol
        self._labels = labels
        self._short = [label[_SHORT[by]] for label in labels]
        self._decimals = 0

    def token(self, mrr: Sequence[MrrRow], revenue: Sequence[MoneyRow], whole: Sequence[MrrRow]) -> TokenFigures:
        """Return what there is about the symbol: by row, and in the whole stretch."""
        assets = [row.asset for row in (*mrr, *whole)] + [row.asset for row in revenue]
        self._decimals = max((asset.decimals for asset in assets), default=0)
        start = sum((_share(row.start.exact, row.asset) for row in whole), Fraction())
        end = sum((_share(row.end.exact, row.asset) for row in whole), Fraction())
        lost = sum((_share(row.churn.exact + row.contraction.exact, row.asset) for row in whole), Fraction())
        payers = sum(row.customers for row in whole)
        return TokenFigures(
            symbol=self._symbol,
            mrr=self._written(end),
            arpu=self._written(end / payers) if payers else None,
            customers=payers,
            churn=f"{float(lost / start):.1%}" if start else None,
            figures=[self._standing(mrr), self._moves(mrr), self._revenue(revenue)],
        )

    def _standing(self, rows: Sequence[MrrRow]) -> Figure:
        by_network = self._by_network(rows, lambda row: row.end.exact)
        return self._figure("chart_mrr", "networks", by_network, self._columns(by_network))

    def _moves(self, rows: Sequence[MrrRow]) -> Figure:
        sums = {name: self._sums(rows, name) for name in ("start", *MOVES, "end")}
        heights = {self._t(f"move_{n}"): [-x if n in _AWAY else x for x in sums[n]] for n in MOVES}
        head = [self._t("period"), *(self._t(f"move_{name}") for name in sums)]
        return self._figure("chart_moves", "moves", heights, Table(head=head, rows=self._columns(sums).rows))

    def _revenue(self, rows: Sequence[MoneyRow]) -> Figure:
        by_network = self._by_network(rows, lambda row: Fraction(row.revenue))
        return self._figure("chart_revenue", "networks", by_network, self._columns(by_network))

    def _sums(self, rows: Sequence[MrrRow], name: str) -> list[Fraction]:
        found = dict.fromkeys(self._labels, Fraction())
        for row in rows:
            found[row.span.label] += _share(getattr(row, name).exact, row.asset)
        return list(found.values())

    def _by_network(self, rows: Sequence[R], amount: Callable[[R], Fraction]) -> dict[str, list[Fraction]]:
        found: dict[str, dict[str, Fraction]] = {}
        for row in rows:
            name = self._names.get(row.asset.chain_id, str(row.asset.chain_id))
            column = found.setdefault(name, dict.fromkeys(self._labels, Fraction()))
            column[row.span.label] += _share(amount(row), row.asset)
        return {name: list(column.values()) for name, column in sorted(found.items())}

    def _figure(self, name: str, kind: str, heights: Mapping[str, Sequence[Fraction]], table: Table) -> Figure:
        said = self._t(name, symbol=self._symbol)
        shown = _few(heights, self._t("others"))
        chart = Chart(
            name=said,
            labels=self._short,
            series={word: [float(height) for height in column] for word, column in shown.items()},
            write=_plain,
        )
        drawn = draw(chart) if any(any(column) for column in shown.values()) else None
        return Figure(name=said, kind=kind, drawn=drawn, legend=chart.legend, table=table)

    def _columns(self, columns: Mapping[str, Sequence[Fraction]]) -> Table:
        rows = [[label, *(self._written(c[n]) for c in columns.values())] for n, label in enumerate(self._labels)]
        return Table(head=[self._t("period"), *columns], rows=rows)

    def _written(self, value: Fraction) -> str:
        return display(round(value * 10**self._decimals), self._decimals)


def _share(amount: Fraction, asset: Asset) -> Fraction:
    """Return base units as whole ones: what is called by one symbol may have other decimals elsewhere."""
    return amount * Fraction(1, 10**asset.decimals)


def _few(columns: Mapping[str, Sequence[Fraction]], others: str) -> Mapping[str, Sequence[Fraction]]:
    """Return no more series than there are colours; what is left is drawn as one."""
    if len(columns) <= _MOST_NETWORKS:
        return columns
    kept = dict(list(columns.items())[: _MOST_NETWORKS - 1])
    rest: Iterable[tuple[Fraction, ...]] = zip(*list(columns.values())[_MOST_NETWORKS - 1 :], strict=True)
    return {**kept, others: [sum(column, Fraction()) for column in rest]}


def _money(row: MoneyRow) -> dict[str, str | int]:
    return {
        "symbol": row.asset.symbol,
        "payments": row.payments,
        **{
            name: display(getattr(row, name), row.asset.decimals)
            for name in ("received", "refunded", "revenue", "tax", "written_off")
        },
    }


def _plain(height: float) -> str:
    return f"{height:,.6f}".rstrip("0").rstrip(".")
