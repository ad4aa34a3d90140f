"""Gauges of the database, read when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any

from prometheus_client.core import GaugeMetricFamily

from evmbilling.adapters.prometheus.catalogue import GAUGES, PREFIX, SERIES
from evmbilling.domain.reading.watching import SIGN_OF_LIFE, AssetFigures, Business, Figures

Series = Mapping[tuple[str, ...], int | float]


def families(figures: Figures) -> Iterator[GaugeMetricFamily]:
    """Return every gauge of the list with its series."""
    values = series_of(figures)
    for name, known in GAUGES.items():
        family = GaugeMetricFamily(PREFIX + name, known.text, labels=known.labels)
        for labels, value in sorted(_bounded(values[name]).items()):
            family.add_metric(labels, value)
        yield family


def series_of(figures: Figures) -> dict[str, Series]:
    """Return the values of every gauge, by its labels."""
    now, networks = figures.now, figures.networks
    return {
        "subscriptions": {(plan, status): count for (plan, status), count in figures.subscriptions.items()},
        "orders": {(status,): count for status, count in figures.orders.items()},
        "outbox_depth": {(): figures.outbox.count},
        "outbox_age_seconds": {(): figures.outbox.age(now).total_seconds()},
        "deliveries_depth": _summed((_sink(key), depth.count) for key, depth in figures.deliveries.items()),
        "deliveries_age_seconds": _oldest(
            (_sink(key), depth.age(now).total_seconds()) for key, depth in figures.deliveries.items()
        ),
        "queue_items": {(kind,): depth.count for kind, depth in figures.queue.items()},
        "queue_age_seconds": {(kind,): depth.age(now).total_seconds() for kind, depth in figures.queue.items()},
        "deposits_held": {place: depth.count for place, depth in figures.deposits.items()},
        "deposits_age_seconds": {place: depth.age(now).total_seconds() for place, depth in figures.deposits.items()},
        "unsealed_rows": {} if figures.unsealed is None else {(): figures.unsealed},
        "reader_block": _known((known.network, known.block) for known in networks),
        "reader_lag_blocks": _known((known.network, known.behind) for known in networks),
        "reader_lag_seconds": {
            (known.network,): lag.total_seconds() for known in networks if (lag := known.lag(now)) is not None
        },
        "finality_lag_blocks": _known((known.network, known.finality_lag) for known in networks),
        "network_halted": {(known.network,): int(known.halted is not None) for known in networks},
        "leases_held": _summed(
            ((lease.name.partition(":")[0],), 1) for lease in figures.held() if not lease.name.startswith(SIGN_OF_LIFE)
        ),
        "worker_alive": {
            (lease.name.removeprefix(SIGN_OF_LIFE),): int(lease.until > now)
            for lease in figures.leases
            if lease.name.startswith(SIGN_OF_LIFE)
        },
        **_money(figures.business, now),
        "clock_skew_seconds": {(): figures.skew.total_seconds()},
    }


def _money(business: Business, now: datetime) -> dict[str, Series]:
    """Return the gauges of money in whole tokens: a float cannot hold base units, and nobody decides by a gauge."""
    assets = {_asset(one, business.assets): one for one in business.assets}
    age = None if business.complete_at is None else max((now - business.complete_at).total_seconds(), 0)
    return {
        "mrr": {labels: _tokens(one, one.mrr) for labels, one in assets.items()},
        "arpu": {labels: _tokens(one, one.arpu) for labels, one in assets.items() if one.arpu is not None},
        "paying_customers": {(): business.customers},
        "payers": {labels: one.payers for labels, one in assets.items()},
        "received": {labels: _tokens(one, one.received) for labels, one in assets.items()},
        "received_payments": {labels: one.payments for labels, one in assets.items()},
        "refunded": {labels: _tokens(one, one.refunded) for labels, one in assets.items()},
        "revenue": {labels: _tokens(one, one.revenue) for labels, one in assets.items()},
        "debt": {labels: _tokens(one, one.debt) for labels, one in assets.items()},
        "figures_age_seconds": {} if age is None else {(): age},
    }


def _asset(one: AssetFigures, others: Sequence[AssetFigures]) -> tuple[str, str]:
    """Return an asset's labels: its symbol, with the address where another token of the network has the same one."""
    symbol = one.asset.symbol
    same = [each for each in others if each.network == one.network and each.asset.symbol == symbol]
    return one.network, symbol if len(same) == 1 else f"{symbol} {one.asset.token}"


def _tokens(one: AssetFigures, amount: Fraction | int) -> float:
    return float(Fraction(amount) / 10**one.asset.decimals)


def _sink(lane: tuple[str, str]) -> tuple[str, ...]:
    """Return a lane's labels: all webhook endpoints are one."""
    sink, state = lane
    kind, _, name = sink.partition(":")
    return (kind if kind == "webhook" else name or kind, state)


def _known(values: Iterable[tuple[str, int | None]]) -> Series:
    return {(name,): value for name, value in values if value is not None}


def _summed(values: Iterable[tuple[tuple[str, ...], int]]) -> Series:
    total: Counter[tuple[str, ...]] = Counter()
    for labels, value in values:
        total[labels] += value
    return total


def _oldest(values: Iterable[tuple[tuple[str, ...], float]]) -> Series:
    found: dict[tuple[str, ...], float] = {}
    for labels, value in values:
        found[labels] = max(found.get(labels, 0), value)
    return found


def _bounded(series: Series) -> dict[tuple[str, ...], Any]:
    """Keep a bounded number of series: those with the largest values, and the others as one sum."""
    if len(series) <= SERIES:
        return dict(series)
    ranked = sorted(series.items(), key=lambda item: (-item[1], item[0]))
    kept: dict[tuple[str, ...], Any] = dict(ranked[: SERIES - 1])
    width = len(ranked[0][0])
    kept[("other",) * width] = sum(value for _, value in ranked[SERIES - 1 :])
    return kept
