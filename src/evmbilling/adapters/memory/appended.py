"""Append-only rows as the sealer sees them: where they are, and their canonical bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import attrs

from evmbilling.adapters.memory.rows import Rows
from evmbilling.adapters.memory.tables import AppendedRow, Tables
from evmbilling.domain.books.seals import SealedRow

Key = Callable[[str], Hashable]


def _numbered(key: str) -> tuple[str, int]:
    """Read the key of a row that has a number within its owner; what is no such key finds no row."""
    owner, _, number = key.rpartition(":")
    return owner, int(number) if number.isascii() and number.isdigit() else -1


_SEALED: Final[dict[str, tuple[Callable[[Tables], Rows[Any, Any]], Key]]] = {
    "audit": (lambda tables: tables.audit, str),
    "ledger_entries": (lambda tables: tables.postings, str),
    "outbox": (lambda tables: tables.events, str),
    "receipt_entries": (lambda tables: tables.entries, _numbered),
    "subscription_changes": (lambda tables: tables.changes, _numbered),
}
COUNTED: Final = frozenset({"audit", "ledger_entries"})
"""Tables whose unsealed rows are the seal's lag."""


def note_appended(tables: Tables, table: str, key: str, recorded_at: datetime) -> None:
    """Note that a row was appended, for the sealer to find whatever the order of commits is."""
    if tables.seal_items.get((table, key)) is None:
        tables.unsealed.put((table, key), AppendedRow(place=(table, key), recorded_at=recorded_at))


def sealed_row(tables: Tables, table: str, key: str) -> SealedRow | None:
    """Return an append-only row as it is stored now; None when there is no such row or table."""
    if table not in _SEALED:
        return None
    rows, read = _SEALED[table]
    row = rows(tables).get(read(key))
    return None if row is None else SealedRow(table=table, key=key, content=canonical_bytes(row))


def canonical_bytes(row: object) -> bytes:
    """Write every column of a row as canonical JSON: sorted keys, no spaces, ASCII only."""
    return json.dumps(_plain(row), sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return {name: _plain(item) for name, item in attrs.asdict(value, recurse=False).items()}
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
