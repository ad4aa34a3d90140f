"""Mappings that can sit in a frozen, comparable record: sorted pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Pairs = tuple[tuple[str, int], ...]


def pairs(value: Mapping[str, int] | Iterable[tuple[str, int]]) -> Pairs:
    """Return sorted key-value pairs: a mapping that can sit in a frozen, comparable record."""
    # Most are pairs already; asking whether something is a mapping takes longer than sorting it.
    if not isinstance(value, tuple) and isinstance(value, Mapping):
        value = value.items()
    return tuple(sorted(value))
