"""Mappings that can sit in a frozen, comparable record: sorted pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Pairs = tuple[tuple[str, int], ...]


def pairs(value: Mapping[str, int] | Iterable[tuple[str, int]]) -> Pairs:
    """Return sorted key-value pairs: a mapping that can sit in a frozen, comparable record."""
    return tuple(sorted(value.items() if isinstance(value, Mapping) else value))
