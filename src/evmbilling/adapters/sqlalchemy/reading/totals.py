"""What many spans come to, added up by PostgreSQL: a row for each figure of a report, whatever it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql

from evmbilling.adapters.sqlalchemy.reading.session import any_word, several
from evmbilling.adapters.sqlalchemy.types import Digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evmbilling.domain.books.span_totals import Part

_KEY = ("series", "chain_id", "token", "per")


class TotalStatements:
    """Built once per prefix and schema, for PostgreSQL."""

    def __init__(self, sums: sa.Table) -> None:
        part = sa.func.unnest(
            bindparam("places", type_=postgresql.ARRAY(sa.BigInteger)),
            bindparam("grains", type_=postgresql.ARRAY(sa.Text)),
            bindparam("starts", type_=postgresql.ARRAY(postgresql.TIMESTAMP(timezone=True))),
            bindparam("signs", type_=postgresql.ARRAY(sa.BigInteger)),
        ).table_valued(
            sa.column("place", sa.BigInteger),
            sa.column("grain", sa.Text),
            sa.column("starts_at", postgresql.TIMESTAMP(timezone=True)),
            sa.column("sign", sa.BigInteger),
            name="part",
        )
        part = part.render_derived()
        # The OFFSET keeps the search of the index for each part where it is. Joined freely, PostgreSQL thinks that few
        # rows are found, and sorts them all instead of putting each to its total.
        of_part = (
            sa.select(sums)
            .where(
                any_word(sums.c.grain) == part.c.grain.collate("C"),
                sums.c.starts_at == part.c.starts_at,
                sums.c.series.in_(several("series")),
            )
            .offset(sa.literal_column("0"))
            .lateral("sums")
        )
        self.exact = _added(part.c.place, part.c.sign, of_part.c).select_from(part.join(of_part, sa.true()))
        place, sign = bindparam("place", type_=sa.BigInteger), bindparam("sign", type_=sa.BigInteger)
        # As an expression, the names only filter what the range has found; see the sums by their key.
        self.onwards = _added(place.label("place"), sign, sums.c).where(
            any_word(sums.c.grain) == bindparam("grain"),
            sums.c.starts_at >= bindparam("since"),
            sums.c.series.concat("").in_(several("series")),
        )


_SHORT = 18
"""Digits with a sign that fit into 64 bits; their sum does not overflow, PostgreSQL makes it a numeric."""


def _added(place: Any, sign: Any, columns: Any) -> Any:
    key = [columns[name] for name in _KEY]
    # Reading digits as a numeric costs twice what an integer costs, and most amounts are short.
    short = sa.func.length(columns.amount) <= _SHORT
    small = sa.func.sum(sign * sa.cast(columns.amount, sa.BigInteger)).filter(short)
    large = sa.func.sum(sign * sa.cast(columns.amount, sa.Numeric)).filter(~short)
    amount = sa.func.coalesce(small, 0) + sa.func.coalesce(large, 0)
    return sa.select(
        place,
        *key,
        sa.func.max(columns.decimals).label("decimals"),
        sa.func.max(columns.symbol).label("symbol"),
        sa.type_coerce(sa.cast(amount, sa.Text), Digits()).label("amount"),
        sa.cast(sa.func.sum(sign * columns["items"]), sa.BigInteger).label("items"),
    ).group_by(*([] if isinstance(place, sa.Label) else [place]), *key)


def values_of(parts: Sequence[Part], series: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of the statement for parts that do not go on."""
    return {
        "places": [part.place for part in parts],
        "grains": [part.grain for part in parts],
        "starts": [part.start for part in parts],
        "signs": [part.sign for part in parts],
        "series": series,
    }
