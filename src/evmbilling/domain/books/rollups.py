"""Rollups: sums of movements by quarter of an hour, hour, day, month and for ever, and which of them make up a span.

A span is put together from the largest sums that fit, also by taking away: a day in Berlin is the day in UTC, and the
hours at its two ends. So a year reads about as many rows as a week, however many movements there were. Quarters of an
hour are kept for 90 days; older ends of spans that fall within an hour are read from the movements themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal

from attrs import define, field, frozen

from evmbilling.domain.books.movements import Move, Series
from evmbilling.domain.money import Asset

Grain = Literal["quarter", "hour", "day", "month", "ever"]
GRAINS: tuple[Grain, ...] = ("quarter", "hour", "day", "month", "ever")
KEEP_QUARTERS = timedelta(days=90)
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""Where the sum of everything begins."""
_DECEMBER = 12
_FEW_DAYS = timedelta(days=14)
"""A stretch within a month that is added up by day; less than half of any month."""

CellKey = tuple[Grain, datetime, str, int, str, int]
"""Grain, start, series, chain id, token, per."""
Tally = tuple[datetime, str, int, str, int, int, str, int, int]
"""A sum as reports read them, by the thousand: start, series, chain id, token, per, decimals, symbol, amount, items.

Plain tuples, because a record of each costs more than what is done with it; see :class:`Cell` for what they mean.
"""


@lru_cache(maxsize=1024)
def asset_of(chain_id: int, token: str, decimals: int, symbol: str) -> Asset:
    """Return an asset; the few that thousands of sums are of are made once."""
    return Asset(chain_id=chain_id, token=token, decimals=decimals, symbol=symbol)


@frozen(kw_only=True)
class Cell:
    """The sum of the movements of a series, in an asset, that happened in a stretch of time (UTC)."""

    grain: Grain
    starts_at: datetime
    series: str
    asset: Asset
    per: int
    amount: int = 0
    items: int = 0

    @property
    def key(self) -> CellKey:
        """What there is one cell of."""
        return (self.grain, self.starts_at, self.series, self.asset.chain_id, self.asset.token, self.per)

    @property
    def tally(self) -> Tally:
        """As reports read it."""
        asset = self.asset
        known = (asset.chain_id, asset.token, self.per, asset.decimals, asset.symbol)
        return (self.starts_at, self.series, *known, self.amount, self.items)


@frozen(kw_only=True)
class Cover:
    """What has to be added up for a span of time.

    Attributes:
        cells: how often each sum is counted, by (grain, start): 1, or -1 where it is taken away.
        from_month: everything from this month on is taken away from the sum of everything; None when it is not used.
        ends: stretches ``[from, until)`` that are read from movements, each with 1 or -1.

    """

    cells: Mapping[tuple[Grain, datetime], int]
    from_month: datetime | None = None
    ends: tuple[tuple[datetime, datetime, int], ...] = ()


def start_of(grain: Grain, at: datetime) -> datetime:
    """Return where the stretch begins (UTC) that an instant falls into."""
    at = at.astimezone(UTC)
    if grain == "ever":
        return EVER
    if grain == "month":
        return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if grain == "day":
        return at.replace(hour=0, minute=0, second=0, microsecond=0)
    minute = at.minute // 15 * 15 if grain == "quarter" else 0
    return at.replace(minute=minute, second=0, microsecond=0)


def next_month(start: datetime) -> datetime:
    """Return the first instant of the month after the one that begins here."""
    if start.month == _DECEMBER:
        return start.replace(year=start.year + 1, month=1)
    return start.replace(month=start.month + 1)


@lru_cache(maxsize=4096)
def _places(quarter: datetime) -> tuple[tuple[Grain, datetime], ...]:
    """Return every stretch that a quarter of an hour is part of, itself the first."""
    return tuple((grain, start_of(grain, quarter)) for grain in GRAINS)


@define
class Adding:
    """Sums while movements are added to them.

    Attributes:
        quarters_from: from when on there are sums by quarter of an hour.

    """

    quarters_from: datetime
    _sums: dict[CellKey, tuple[Asset, list[int]]] = field(factory=dict, init=False)

    def add(self, moves: Iterable[Move]) -> None:
        """Add movements."""
        for move in moves:
            if move.series == Series.NONE:
                continue
            asset = move.asset
            rest = (str(move.series), asset.chain_id, asset.token, move.per)
            places = _places(start_of("quarter", move.occurred_at))
            for place in places if places[0][1] >= self.quarters_from else places[1:]:
                _, total = self._sums.setdefault((*place, *rest), (asset, [0, 0]))
                total[0] += move.amount
                total[1] += move.items

    def cells(self) -> dict[CellKey, Cell]:
        """Return what they came to."""
        return {
            key: Cell(
                grain=key[0], starts_at=key[1], series=key[2], asset=asset, per=key[5], amount=total[0], items=total[1]
            )
            for key, (asset, total) in self._sums.items()
        }


def add_up(moves: Iterable[Move], *, quarters_from: datetime) -> dict[CellKey, Cell]:
    """Return what movements add to each sum; quarters of an hour only from an instant on."""
    adding = Adding(quarters_from)
    adding.add(moves)
    return adding.cells()


def joined(stored: Iterable[Cell], added: Mapping[CellKey, Cell]) -> list[Cell]:
    """Return the sums after more was added; those that come to nothing stay, with nothing in them."""
    held = {cell.key: cell for cell in stored}
    found = []
    for key, cell in added.items():
        old = held.get(key)
        found.append(
            cell
            if old is None
            else Cell(
                grain=cell.grain,
                starts_at=cell.starts_at,
                series=cell.series,
                asset=cell.asset,
                per=cell.per,
                amount=old.amount + cell.amount,
                items=old.items + cell.items,
            )
        )
    return found


def keeps_quarters_from(now: datetime) -> datetime:
    """Return from when on there are sums by quarter of an hour: whole days, so that an hour has all of them or none."""
    return start_of("day", now - KEEP_QUARTERS)


def cover(since: datetime, until: datetime, *, quarters_from: datetime) -> Cover:
    """Return what makes up the span ``[since, until)``."""
    first, last = start_of("day", since), start_of("day", until)
    if first.month == last.month and last - first < _FEW_DAYS:
        return _cover_days(since, until, quarters_from)
    made = _Making()
    month = start_of("month", since)
    while month < start_of("month", until):
        made.cells["month", month] += 1
        month = next_month(month)
    _within_month(until, 1, made, quarters_from)
    _within_month(since, -1, made, quarters_from)
    return made.done()


def _cover_days(since: datetime, until: datetime, quarters_from: datetime) -> Cover:
    """Return what makes up a few days of one month: these themselves, not the month without all others of it."""
    made = _Making()
    day = start_of("day", since)
    while day < start_of("day", until):
        made.cells["day", day] += 1
        day += DAY
    _within_day(until, 1, made, quarters_from)
    _within_day(since, -1, made, quarters_from)
    return made.done()


def cover_until(until: datetime, *, quarters_from: datetime) -> Cover:
    """Return what makes up everything that happened before an instant: the sum of everything, less what came later."""
    made = _Making(cells=Counter({("ever", EVER): 1}))
    _within_month(until, 1, made, quarters_from)
    return made.done(start_of("month", until))


def _within_month(at: datetime, sign: int, made: _Making, quarters_from: datetime) -> None:
    """Add the stretch from the first of the month to an instant."""
    month, day = start_of("month", at), start_of("day", at)
    made.side(sign, ("day", "month"), (month, day, next_month(month)), DAY)
    _within_day(at, sign, made, quarters_from)


def _within_day(at: datetime, sign: int, made: _Making, quarters_from: datetime) -> None:
    """Add the stretch from the beginning of the day to an instant."""
    day, hour = start_of("day", at), start_of("hour", at)
    made.side(sign, ("hour", "day"), (day, hour, day + DAY), HOUR)
    begun = hour
    if hour >= quarters_from:
        begun = start_of("quarter", at)
        made.side(sign, ("quarter", "hour"), (hour, begun, hour + HOUR), QUARTER)
    if begun < at:
        made.ends.append((begun, at, sign))


@define
class _Making:
    """A cover while it is put together."""

    cells: Counter[tuple[Grain, datetime]] = field(factory=Counter)
    ends: list[tuple[datetime, datetime, int]] = field(factory=list)

    def side(
        self, sign: int, grains: tuple[Grain, Grain], at: tuple[datetime, datetime, datetime], step: timedelta
    ) -> None:
        """Add the parts from the beginning of a whole to an instant, or the whole less those after it: the fewer.

        Args:
            sign: 1, or -1 to take away. grains: of the parts and of the whole.
            at: where the whole begins, the instant, and where the whole ends. step: how long a part is.

        """
        (part, whole), (start, end, last) = grains, at
        before, after = (end - start) // step, (last - end) // step
        if before <= after + 1:
            for n in range(before):
                self.cells[part, start + n * step] += sign
            return
        self.cells[whole, start] += sign
        for n in range(after):
            self.cells[part, end + n * step] -= sign

    def done(self, from_month: datetime | None = None) -> Cover:
        """Return it without what cancels out."""
        cells = {key: count for key, count in self.cells.items() if count}
        return Cover(cells=cells, from_month=from_month, ends=tuple(self.ends))
