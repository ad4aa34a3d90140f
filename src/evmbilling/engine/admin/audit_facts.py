"""What the audit log says about a row: JSON values; a secret is a fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs

from evmbilling.domain.secrets import SecretRef

Fingerprint = Callable[[SecretRef], str]
_PLAIN = frozenset({str, int, bool, type(None)})
_AMOUNTS = frozenset({"amount", "gas_price_cap", "dust_below", "approval_above", "at_least"})


def row_facts(row: Any, fingerprint: Fingerprint) -> dict[str, Any]:
    """Return a record as JSON values; amounts of base units as strings."""
    return {a.name: _json(a.name, getattr(row, a.name), fingerprint) for a in attrs.fields(type(row))}


def changed_facts(before: Any, after: Any, fingerprint: Fingerprint) -> dict[str, Any]:
    """Return the fields that differ, as ``{name: [before, after]}``."""
    old, new = row_facts(before, fingerprint), row_facts(after, fingerprint)
    return {name: [old[name], new[name]] for name in new if old[name] != new[name]}


def _json(name: str, value: Any, fingerprint: Fingerprint) -> Any:
    if type(value) in _PLAIN:
        return str(value) if name in _AMOUNTS and value is not None else value
    if isinstance(value, SecretRef):
        return fingerprint(value)
    if attrs.has(type(value)):
        return row_facts(value, fingerprint)
    if isinstance(value, tuple | list):
        return [_json(name, item, fingerprint) for item in value]
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    return str(value) if isinstance(value, Enum | Decimal) else value
