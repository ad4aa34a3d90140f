"""Rows for every table, made from the types of its columns alone: the largest, the smallest, the odd and the absent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import sqlalchemy as sa

from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.tables import build_tables
from evmbilling.adapters.sqlalchemy.types import (
    Address,
    Day,
    Digits,
    ExactDecimal,
    Flag,
    Octets,
    StrictJson,
    Uint256,
    UtcInstant,
    Whole,
    Word,
)

#: By type: the value of a row by its number from 0. Equal columns of two tables get equal values, so references hold.
VALUES: dict[type, Callable[[int], Any]] = {
    Uint256: lambda n: (2**256 - 1, 0)[n % 2] if n < 2 else n,
    Digits: lambda n: -(10**90) if n == 0 else n,
    Whole: lambda n: 2**63 - 1 - n,
    Flag: lambda n: n % 2 == 0,
    UtcInstant: lambda n: datetime(2026, 1, 31, 23, 59, 59, 999_999 - n, tzinfo=UTC),
    Day: lambda n: date(2026, 2, 1 + n % 28),
    Address: lambda n: f"0x{n:040x}",
    StrictJson: lambda n: {"b": [n, "\u2028é", None], "a": {"x": True}},
    ExactDecimal: lambda n: Decimal("0.10") if n % 2 else Decimal(-n),
}


tables_of = cache(build_tables)


def fill(connection: sa.Connection, names: Names, rows: int = 3) -> None:
    """Put rows into every table; the last one holds nothing where nothing may be held."""
    tables = tables_of(names)
    for table in tables.metadata.sorted_tables:
        if table.name != names.table("instance"):
            connection.execute(sa.insert(table), [row(table, n, bare=n == rows - 1) for n in range(rows)])


def row(table: sa.Table, number: int, *, bare: bool) -> dict[str, Any]:
    return {c.name: None if bare and c.nullable else _value(c, number) for c in table.columns}


def _value(column: sa.Column[Any], number: int) -> Any:
    kind: Any = column.type
    if isinstance(kind, Word):
        return kind.words[number % len(kind.words)]
    if isinstance(kind, Octets):
        return (bytes([0, 255 - number]) * 32)[: kind.length or 5]
    make = VALUES.get(type(kind))
    return make(number) if make is not None else f"name {number} Ω'\"\\%$1"
