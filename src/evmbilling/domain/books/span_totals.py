"""What spans of time come to: parts that storage adds up, and the movements at their ends.

A report asks for many spans at once. Each has a *place*, and is put together from *parts*: sums that are counted or
taken away (:func:`evmbilling.domain.books.rollups.cover`). Storage answers with one *total* for each place, series,
asset and denominator, which is as many rows as the report has figures, however many sums there are behind them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from typing import NamedTuple

from evmbilling.domain.books.movements import Move
from evmbilling.domain.books.rollups import Cover, Grain, Tally, asset_of
from evmbilling.domain.money import Asset


class Part(NamedTuple):
    """Sums that are part of a span: of a grain, counted ``sign`` times.

    Attributes:
        place: of the span in what was asked.
        start: where the sums begin. onwards: whether those that begin later are meant too.

    """

    place: int
    grain: Grain
    start: datetime
    sign: int
    onwards: bool = False


Total = tuple[int, str, int, str, int, int, str, int, int]
"""What a place comes to: place, series, chain id, token, per, decimals, symbol, amount, items.

Plain tuples, because a record of each costs more than what is done with it.
"""
_Key = tuple[int, str, int, str, int]
"""Place, series, chain id, token, per: what there is one total of."""


class Sum(NamedTuple):
    """What a span comes to, for one series in one asset."""

    series: str
    asset: Asset
    per: int
    amount: int
    items: int


def parts_of(place: int, spans: Cover) -> Iterator[Part]:
    """Give what makes up the span at a place."""
    for (grain, start), sign in spans.cells.items():
        yield Part(place, grain, start, sign)
    if spans.from_month is not None:
        yield Part(place, "month", spans.from_month, -1, onwards=True)


def totals_of(parts: Collection[Part], series: Collection[str], sums: Iterable[tuple[Grain, Tally]]) -> list[Total]:
    """Return what the places of parts come to, for storage that does not add up itself.

    Args:
        parts: of all places.
        series: what is added up.
        sums: those of all parts and series, each with its grain; others are passed over.

    """
    exact: dict[tuple[Grain, datetime], list[tuple[int, int]]] = defaultdict(list)
    for part in parts:
        if not part.onwards:
            exact[part.grain, part.start].append((part.place, part.sign))
    onwards = [part for part in parts if part.onwards]

    def signed() -> Iterator[tuple[int, Total]]:
        for grain, tally in sums:
            start = tally[0]
            if tally[1] in series:
                for place, sign in exact.get((grain, start), ()):
                    yield sign, (place, *tally[1:])
                for part in onwards:
                    if part.grain == grain and part.start <= start:
                        yield part.sign, (part.place, *tally[1:])

    return added(signed())


def added(totals: Iterable[tuple[int, Total]]) -> list[Total]:
    """Add totals of the same place, series, chain, token and denominator, each counted so often.

    An asset that bears several names has the last of them in the alphabet, in whatever order they come.
    """
    found: dict[_Key, tuple[list[int], int, str]] = {}
    for sign, (place, name, chain_id, token, per, decimals, symbol, amount, items) in totals:
        key = (place, name, chain_id, token, per)
        kept = found.get(key)
        if kept is None:
            found[key] = [sign * amount, sign * items], decimals, symbol
        else:
            total = kept[0]
            total[0] += sign * amount
            total[1] += sign * items
            if symbol != kept[2] or decimals != kept[1]:
                found[key] = total, max(decimals, kept[1]), max(symbol, kept[2])
    return [(*key, decimals, symbol, amount, items) for key, ((amount, items), decimals, symbol) in found.items()]


def with_moves(place: int, totals: Sequence[Total], moves: Iterable[tuple[int, Move]]) -> Sequence[Total]:
    """Return what a place comes to with some movements; what comes to nothing is left out.

    Args:
        place: of which the totals are, one for each series, chain, token and denominator.
        totals: what its sums come to.
        moves: movements that none of them has in it, each with 1, or with -1 to be taken away.

    """
    more = [(sign, _of_move(place, move)) for sign, move in moves]
    whole = added(chain(((1, total) for total in totals), more)) if more else totals
    return [total for total in whole if total[-2] or total[-1]]


def sums_of(totals: Iterable[Total]) -> list[Sum]:
    """Return what one place comes to, with its assets."""
    return [
        Sum(name, asset_of(chain_id, token, decimals, symbol), per, amount, items)
        for _, name, chain_id, token, per, decimals, symbol, amount, items in totals
    ]


def _of_move(place: int, move: Move) -> Total:
    asset = move.asset
    known = (asset.chain_id, asset.token, move.per, asset.decimals, asset.symbol)
    return (place, str(move.series), *known, move.amount, move.items)
