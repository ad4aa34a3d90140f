"""Reports as JSON values and as CSV.

A CSV is opened in a spreadsheet, which takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage
return for a formula. Texts that begin like that get an apostrophe before them (OWASP, CSV Injection); numbers are ours.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any

import attrs

from evmbilling.domain.books.overview import DebtRow, MoneyRow, Monthly, MrrRow, Scope, Summary
from evmbilling.domain.books.receipt_documents import display
from evmbilling.domain.books.report_spans import Span
from evmbilling.domain.money import Asset

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_AMOUNTS: Mapping[type, frozenset[str]] = {
    MoneyRow: frozenset({"received", "refunded", "billed", "revenue", "tax", "written_off"}),
    DebtRow: frozenset({"amount"}),
}


def safe_cell(text: str) -> str:
    """Return a text as a spreadsheet shows it and never computes it."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def as_csv(rows: Sequence[object]) -> str:
    """Return the rows of a report as CSV with a header; amounts as people read them, in whole units of the asset.

    Rows of one kind have the same columns; nothing but a line end comes from no rows.
    """
    flat = [_cells(row) for row in rows]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(list(flat[0]) if flat else [])
    for cells in flat:
        writer.writerow([safe_cell(cell) if isinstance(cell, str) else cell for cell in cells.values()])
    return out.getvalue()


def as_document(value: object) -> Any:
    """Return a report, a row or a scope as JSON values; amounts as base units beside what people read."""
    kind = type(value)
    if value is None or kind in _PLAIN:
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, Mapping):
        return {name: as_document(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_document(item) for item in value]
    return _record(value) if attrs.has(kind) else value


_PLAIN = frozenset({str, int, bool})


def _record(value: Any) -> dict[str, Any]:
    """Return a row or a scope; hundreds of rows have the same few assets and stretches of time."""
    if isinstance(value, Asset | Span):
        return dict(_shared(value))
    amounts = _AMOUNTS.get(type(value), frozenset())
    found: dict[str, Any] = {}
    for name in _names(type(value)):
        item = getattr(value, name)
        found[name] = _amount(item, value.asset) if name in amounts or isinstance(item, Monthly) else as_document(item)
    if isinstance(value, MrrRow):
        found["arpu"] = None if value.arpu is None else _amount(value.arpu, value.asset)
        found["churn_rate"] = as_document(value.churn_rate)
    return found


@lru_cache(maxsize=1024)
def _shared(value: Asset | Span) -> Mapping[str, Any]:
    return {name: as_document(getattr(value, name)) for name in _names(type(value))}


def _names(kind: type) -> tuple[str, ...]:
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(field.name for field in attrs.fields(kind))
    return _FIELDS[kind]


_FIELDS: dict[type, tuple[str, ...]] = {}
"""Names of the fields of the few kinds of records; looking them up costs more than reading them."""


def report_document(summary: Summary, **parts: object) -> dict[str, Any]:
    """Return a whole report: the summary, and whatever else was asked for by name."""
    return as_document(summary) | {name: as_document(part) for name, part in parts.items()}  # type: ignore[no-any-return]  # a mapping


def _fields(value: Any) -> Iterable[tuple[str, Any]]:
    return ((name, getattr(value, name)) for name in _names(type(value)))


def _amount(amount: Any, asset: Asset) -> dict[str, str]:
    if isinstance(amount, Monthly):
        exact = {"exact": f"{amount.exact.numerator}/{amount.exact.denominator}"}
        return {"base_units": str(amount.base_units), "display": display(amount.base_units, asset.decimals)} | exact
    if not amount:
        return {"base_units": "0", "display": "0"}
    return {"base_units": str(amount), "display": display(amount, asset.decimals)}


def _cells(row: Any) -> dict[str, str | int | _Number | None]:
    cells: dict[str, str | int | _Number | None] = {}
    for name, item in _fields(row):
        if isinstance(item, Span):
            cells |= {"from": item.start.isoformat(), "until": item.end.isoformat(), "label": item.label}
        elif isinstance(item, Asset):
            cells |= {"chain_id": item.chain_id, "token": item.token, "symbol": item.symbol}
        elif isinstance(item, Monthly):
            cells[name] = _Number(display(item.base_units, row.asset.decimals))
        elif name in _AMOUNTS.get(type(row), ()):
            cells[name] = _Number(display(item, row.asset.decimals))
        elif isinstance(item, datetime):
            cells[name] = item.isoformat()
        else:
            cells[name] = item
    if isinstance(row, MrrRow):
        arpu, rate = row.arpu, row.churn_rate
        cells["arpu"] = None if arpu is None else _Number(display(arpu.base_units, row.asset.decimals))
        cells["churn_rate"] = None if rate is None else f"{rate.numerator}/{rate.denominator}"
    return cells


@attrs.frozen
class _Number:
    """Digits that we wrote ourselves: no text, and therefore no formula, though it may begin with a minus."""

    digits: str

    def __str__(self) -> str:
        return self.digits


def scope_words(scope: Scope) -> str:
    """Return in one line what a report is about."""
    known = "" if scope.as_of is None else f", as known at {scope.as_of.isoformat()}"
    stretch = f"{scope.since.isoformat()} to {scope.until.isoformat()}"
    return f"{stretch} by {scope.by} in {scope.zone}{known}; complete until {scope.complete_at.isoformat()}"
