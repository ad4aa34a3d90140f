"""The business figures of a scrape: sums of everything so far, from the rollups, and what is owed now."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from fractions import Fraction

from evmbilling.domain.books.figure_records import LONG_AGO
from evmbilling.domain.books.movements import MONEY_SERIES, MRR_SERIES, Series
from evmbilling.domain.books.overview import AssetKey, money_rows, stock_of
from evmbilling.domain.books.report_spans import Span
from evmbilling.domain.books.rollups import EVER
from evmbilling.domain.books.span_totals import Total, sums_of
from evmbilling.domain.money import Asset
from evmbilling.domain.reading.watching import AssetFigures, Business
from evmbilling.engine.books.folding import READER
from evmbilling.engine.subscriptions.owing import debts
from evmbilling.ports.storage import Unit

_SERIES = (*MONEY_SERIES, *MRR_SERIES, Series.PAYERS, Series.CUSTOMERS)


def business(unit: Unit, now: datetime) -> Business:
    """Return them by asset; test networks never count. They are as new as the folder's last run."""
    networks = {network.chain_id: network for network in unit.networks()}
    names = {chain_id: network.name for chain_id, network in networks.items() if not network.testnet}
    totals: list[Total] = [(0, *cell.tally[1:]) for cell in unit.figure_cells("ever", starts=[EVER], series=_SERIES)]
    sums = sums_of(totals)
    stock = stock_of(one for one in sums if one.asset.chain_id in names)
    rows = money_rows(_ALL, (total for total in totals if total[2] in names and total[1] in MONEY_SERIES))
    money = {_key(row.asset): row for row in rows}
    owed, assets = _owed(unit, now)
    complete_at = unit.figure_state(READER).complete_at
    assets |= {**{_key(row.asset): row.asset for row in money.values()}, **stock.assets}
    return Business(
        assets=tuple(
            AssetFigures(
                network=names[chain_id],
                asset=assets[chain_id, token],
                mrr=stock.mrr.get((chain_id, token), Fraction()),
                payers=stock.payers.get((chain_id, token), 0),
                received=row.received if row else 0,
                payments=row.payments if row else 0,
                refunded=row.refunded if row else 0,
                revenue=row.revenue if row else 0,
                debt=owed[chain_id, token],
            )
            for chain_id, token in sorted(assets)
            for row in (money.get((chain_id, token)),)
        ),
        customers=sum(one.items for one in sums if one.series == Series.CUSTOMERS),
        complete_at=complete_at if complete_at != LONG_AGO else None,
    )


_ALL = Span(start=EVER, end=EVER, label="")


def _key(asset: Asset) -> AssetKey:
    return asset.chain_id, asset.token


def _owed(unit: Unit, now: datetime) -> tuple[Counter[AssetKey], dict[AssetKey, Asset]]:
    owed: Counter[AssetKey] = Counter()
    assets: dict[AssetKey, Asset] = {}
    for asset, amount, _ in debts(unit, now):
        owed[_key(asset)] += amount
        assets[_key(asset)] = asset
    return owed, assets
