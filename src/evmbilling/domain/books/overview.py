"""The figures that finance sees: plain records, and how they follow from sums of movements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from operator import itemgetter

from attrs import frozen

from evmbilling.domain.books.movements import MRR_SERIES, STATUS_PREFIX, Series
from evmbilling.domain.books.report_spans import Span, Step
from evmbilling.domain.books.rollups import asset_of
from evmbilling.domain.books.span_totals import Sum, Total
from evmbilling.domain.money import Asset

DEBT_AGES = (7, 30, 60, 90)
"""Days at which the age of a debt begins another column."""
_SIGNS: Mapping[str, int] = {
    Series.MRR_NEW: 1,
    Series.MRR_EXPANSION: 1,
    Series.MRR_REACTIVATION: 1,
    Series.MRR_CONTRACTION: -1,
    Series.MRR_CHURN: -1,
}


@frozen(kw_only=True)
class Scope:
    """What a report is about.

    Attributes:
        zone: IANA zone in which days, weeks and months begin. by: what a row is.
        since, until: the whole stretch.
        as_of: only what was known then, of what had happened by then; None for everything known now.
        complete_at: until when everything that was recorded by then is counted.

    """

    zone: str
    by: Step
    since: datetime
    until: datetime
    as_of: datetime | None = None
    complete_at: datetime


@frozen(kw_only=True)
class MoneyRow:
    """Money in one asset in one stretch of time; base units.

    Attributes:
        received: came to treasuries; ``payments`` how many times. refunded: went back; ``refunds`` how many times.
        billed: what complete orders and periods that fell due come to, with tax.
        revenue: earned, less what of it was given back. tax: owed to the state. written_off: given up.

    """

    span: Span
    asset: Asset
    received: int = 0
    payments: int = 0
    refunded: int = 0
    refunds: int = 0
    billed: int = 0
    revenue: int = 0
    tax: int = 0
    written_off: int = 0


@frozen(kw_only=True)
class Monthly:
    """An amount a month: an exact fraction of base units, and the nearest whole number (halves to even) to show."""

    exact: Fraction

    @property
    def base_units(self) -> int:
        """What is shown."""
        return round(self.exact)


@frozen(kw_only=True)
class MrrRow:
    """MRR in one asset in one stretch of time, with what moved it.

    ``start + new + expansion + reactivation - contraction - churn = end``, exactly.

    Attributes:
        start, end: MRR before the first and after the last instant.
        customers: who pays in this asset at the end.
        lost: subscriptions that churned.

    """

    span: Span
    asset: Asset
    start: Monthly
    new: Monthly
    expansion: Monthly
    contraction: Monthly
    churn: Monthly
    reactivation: Monthly
    end: Monthly
    customers: int
    lost: int

    @property
    def arpu(self) -> Monthly | None:
        """MRR at the end for each paying customer; None when there is none."""
        return Monthly(exact=self.end.exact / self.customers) if self.customers else None

    @property
    def churn_rate(self) -> Fraction | None:
        """Gross churn: (churn + contraction) / start; None when there was nothing at the start."""
        return (self.churn.exact + self.contraction.exact) / self.start.exact if self.start.exact else None


@frozen(kw_only=True)
class StatusRow:
    """How many subscriptions stand in a status."""

    status: str
    subscriptions: int


@frozen(kw_only=True)
class TransactionRow:
    """How many orders made in a stretch of time stand in a status now, on a network."""

    status: str
    network: str
    orders: int


@frozen(kw_only=True)
class DebtRow:
    """What is owed in one asset by age: base units, ``days`` old or older and younger than ``below``."""

    asset: Asset
    days: int
    below: int | None
    amount: int
    orders: int


@frozen(kw_only=True)
class FinalityRow:
    """How far a network is read, and how far behind its head what is irreversible is.

    Attributes:
        read: the last block that was read, with its time.
        lag: blocks between head and what cannot change any more; None where that is not known.
        behind: seconds that the last block read is old.
        halted: why it stands still, if it does.

    """

    network: str
    read: int | None
    read_time: datetime | None
    lag: int | None
    behind: int | None
    halted: str | None


@frozen(kw_only=True)
class Summary:
    """Everything at a glance: money of the whole stretch and MRR, by asset, and who pays."""

    scope: Scope
    money: tuple[MoneyRow, ...]
    mrr: tuple[MrrRow, ...]
    customers: int
    subscriptions: tuple[StatusRow, ...]


def money_rows(span: Span, totals: Iterable[Total]) -> tuple[MoneyRow, ...]:
    """Return the rows of a stretch, by chain and token."""
    by_asset: dict[tuple[int, str], tuple[str, int, dict[str, tuple[int, int]]]] = {}
    for _, series, chain_id, token, _, decimals, symbol, amount, items in totals:
        key = (chain_id, token)
        held = by_asset.get(key)
        if held is None:
            by_asset[key] = (symbol, decimals, {series: (amount, items)})
            continue
        held[2][series] = (amount, items)
        if held[0] != symbol or held[1] != decimals:
            by_asset[key] = (*max((symbol, decimals), held[:2]), held[2])
    return tuple(
        _money_row(span, asset_of(*key, decimals, symbol), found)
        for key, (symbol, decimals, found) in sorted(by_asset.items(), key=itemgetter(0))
    )


def _one_of(one: Asset, other: Asset | None) -> Asset:
    """Return which of two records of the same asset is shown, in whatever order they come."""
    return one if other is None else max(one, other, key=lambda asset: (asset.symbol, asset.decimals))


def _money_row(span: Span, asset: Asset, found: Mapping[str, tuple[int, int]]) -> MoneyRow:
    received, payments = found.get(Series.RECEIVED, _NOTHING)
    refunded, refunds = found.get(Series.REFUNDED, _NOTHING)
    return MoneyRow(
        span=span,
        asset=asset,
        received=received,
        payments=payments,
        refunded=refunded,
        refunds=refunds,
        billed=found.get(Series.BILLED, _NOTHING)[0],
        revenue=found.get(Series.REVENUE, _NOTHING)[0] - found.get(Series.RETURNED, _NOTHING)[0],
        tax=found.get(Series.TAX, _NOTHING)[0],
        written_off=found.get(Series.WRITTEN_OFF, _NOTHING)[0],
    )


_NOTHING = (0, 0)
"""Amount and items of a series that did not move."""

AssetKey = tuple[int, str]


@frozen(kw_only=True)
class Stock:
    """What there is of MRR and paying customers at an instant, by asset."""

    mrr: Mapping[AssetKey, Fraction]
    payers: Mapping[AssetKey, int]
    assets: Mapping[AssetKey, Asset]


def stock_of(sums: Iterable[Sum]) -> Stock:
    """Return what everything so far comes to."""
    mrr: dict[AssetKey, Fraction] = defaultdict(Fraction)
    payers: dict[AssetKey, int] = defaultdict(int)
    assets: dict[AssetKey, Asset] = {}
    for one in sums:
        key = (one.asset.chain_id, one.asset.token)
        if one.series in _SIGNS:
            assets[key] = _one_of(one.asset, assets.get(key))
            mrr[key] += _SIGNS[one.series] * Fraction(one.amount, one.per)
        elif one.series == Series.PAYERS:
            assets[key] = _one_of(one.asset, assets.get(key))
            payers[key] += one.items
    return Stock(mrr=mrr, payers=payers, assets=assets)


def mrr_rows(spans: Sequence[Span], before: Stock, flows: Sequence[Sequence[Sum]]) -> tuple[MrrRow, ...]:
    """Return the rows of consecutive stretches, each by chain and token; those without anything are left out."""
    held: dict[AssetKey, Fraction] = dict(before.mrr)
    payers: dict[AssetKey, int] = dict(before.payers)
    assets: dict[AssetKey, Asset] = dict(before.assets)
    found: list[MrrRow] = []
    for span, sums in zip(spans, flows, strict=True):
        moved: dict[AssetKey, dict[str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
        lost: dict[AssetKey, int] = defaultdict(int)
        for one in sums:
            key = (one.asset.chain_id, one.asset.token)
            if one.series in _SIGNS:
                assets[key] = _one_of(one.asset, assets.get(key))
                moved[key][one.series] += Fraction(one.amount, one.per)
                lost[key] += one.items if one.series == Series.MRR_CHURN else 0
            elif one.series == Series.PAYERS:
                assets[key] = _one_of(one.asset, assets.get(key))
                payers[key] = payers.get(key, 0) + one.items
        for key in sorted(assets):
            start = held.get(key, Fraction())
            change = moved.get(key, {})
            end = start + sum(_SIGNS[series] * amount for series, amount in change.items())
            held[key] = end
            if start or end or any(change.values()):
                flow = {series: Monthly(exact=change.get(series, Fraction())) for series in MRR_SERIES}
                found.append(
                    MrrRow(
                        span=span,
                        asset=assets[key],
                        start=Monthly(exact=start),
                        new=flow[Series.MRR_NEW],
                        expansion=flow[Series.MRR_EXPANSION],
                        contraction=flow[Series.MRR_CONTRACTION],
                        churn=flow[Series.MRR_CHURN],
                        reactivation=flow[Series.MRR_REACTIVATION],
                        end=Monthly(exact=end),
                        customers=payers.get(key, 0),
                        lost=lost[key],
                    )
                )
    return tuple(found)


def status_rows(sums: Iterable[Sum]) -> tuple[StatusRow, ...]:
    """Return how many subscriptions stand where."""
    found = {one.series.removeprefix(STATUS_PREFIX): one.items for one in sums if one.series.startswith(STATUS_PREFIX)}
    return tuple(StatusRow(status=status, subscriptions=count) for status, count in sorted(found.items()) if count)


def debt_rows(debts: Iterable[tuple[Asset, int, int]]) -> tuple[DebtRow, ...]:
    """Return what is owed by age.

    Args:
        debts: asset, base units, and whole days since it fell due, of each.

    """
    edges = (0, *DEBT_AGES)
    sums: dict[tuple[int, str, int], tuple[Asset, int, int]] = {}
    for asset, amount, days in debts:
        column = max(edge for edge in edges if edge <= max(days, 0))
        _, total, orders = sums.get((asset.chain_id, asset.token, column), (asset, 0, 0))
        sums[(asset.chain_id, asset.token, column)] = (asset, total + amount, orders + 1)
    return tuple(
        DebtRow(
            asset=asset,
            days=column,
            below=next((edge for edge in edges if edge > column), None),
            amount=amount,
            orders=orders,
        )
        for (_, _, column), (asset, amount, orders) in sorted(sums.items())
    )
