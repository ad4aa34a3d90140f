"""Columns as PostgreSQL's array literals: one parameter for a column of many rows.

The driver would turn each element into a parameter of its own kind first; joining texts takes a tenth of that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from evmbilling.adapters.sqlalchemy.types import PlainText

_SPECIAL = ('"', "\\")


def stored_as(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that PostgreSQL stores a column of ours as; how its texts compare is the column's business."""
    stored = kind.on_postgresql if isinstance(kind, PlainText) else kind
    return sa.Text() if isinstance(stored, sa.Text) else stored


def type_name(kind: TypeEngine[Any]) -> str:
    """Return the name under which the driver knows the type of a column of ours."""
    return _NAMES[type(stored_as(kind))]


def array_writer(kind: TypeEngine[Any]) -> Callable[[Sequence[Any]], str]:
    """Return what writes a column of checked values as an array literal."""
    element = _ELEMENTS[type(stored_as(kind))]
    return lambda values: "{" + ",".join(["NULL" if v is None else element(v) for v in values]) + "}"


def _text(value: str) -> str:
    if _SPECIAL[0] in value or _SPECIAL[1] in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def _octets(value: bytes) -> str:
    return f'"\\\\x{value.hex()}"'


def _instant(value: datetime | date) -> str:
    return f'"{value.isoformat()}"'


def _flag(value: bool) -> str:
    return "t" if value else "f"


_ELEMENTS: dict[type, Callable[[Any], str]] = {
    sa.Text: _text,
    sa.BigInteger: str,
    sa.Numeric: str,
    sa.Boolean: _flag,
    sa.Date: _instant,
    postgresql.BYTEA: _octets,
    postgresql.TIMESTAMP: _instant,
}
_NAMES: dict[type, str] = {
    sa.Text: "text",
    sa.BigInteger: "int8",
    sa.Numeric: "numeric",
    sa.Boolean: "bool",
    sa.Date: "date",
    postgresql.BYTEA: "bytea",
    postgresql.TIMESTAMP: "timestamptz",
}
