"""What many spans come to is the same, whoever adds: PostgreSQL, SQLite with us, or the definition itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import attrs
import pytest

from evmbilling.domain.books.rollups import Cell, start_of
from evmbilling.domain.books.span_totals import Part, totals_of
from evmbilling.testing.conformance.storage import records as b

FROM = datetime(2026, 1, 1, tzinfo=UTC)
SERIES = ("received", "billed", "mrr_new", "in_active")
GRAINS = ("quarter", "hour", "day", "month")


def cells_of(dice: Random) -> dict[object, Cell]:
    """Sums of every size, of assets that bear one name here and another one there."""
    assets = [attrs.evolve(b.cell().asset, chain_id=chain_id) for chain_id in (1, 10, 137)]
    found = {}
    for _ in range(300):
        grain = dice.choice(GRAINS)
        cell = Cell(
            grain=grain,
            starts_at=start_of(grain, FROM + timedelta(minutes=dice.randrange(100_000))),
            series=dice.choice(SERIES),
            asset=attrs.evolve(dice.choice(assets), symbol=dice.choice(("USDC", "usdc", "Coin"))),
            per=dice.choice((1, 12)),
            amount=dice.choice((1, -1)) * dice.randrange(10 ** dice.choice((1, 18, 19, 30, 77, 200))),
            items=dice.randrange(-5, 5),
        )
        found[cell.key] = cell
    return found


@pytest.mark.parametrize("seed", range(6))
def test_places_come_to_the_same_wherever_they_are_added_up(sql_storage, seed):
    dice = Random(seed)
    cells = cells_of(dice)
    b.write(sql_storage, b.figures(cells=tuple(cells.values())))
    starts = sorted({(cell.grain, cell.starts_at) for cell in cells.values()})
    parts = [
        Part(dice.randrange(12), grain, start, dice.choice((1, -1, 2)), onwards=dice.random() < 0.05)
        for grain, start in dice.choices(starts, k=150)
    ]
    for series in (SERIES, SERIES[:1], ("nothing",)):
        with b.looking(sql_storage) as unit:
            found = unit.figure_totals(parts, series)
        defined = totals_of(parts, series, [(cell.grain, cell.tally) for cell in cells.values()])
        assert sorted(found) == sorted(defined)
