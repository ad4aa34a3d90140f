"""Pages: the next rows after one that was seen, so that rows which come in between neither hide nor repeat any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, TypeVar

V = TypeVar("V")


def page_after(rows: Iterable[V], key: Callable[[V], Any], after: Any, limit: int) -> list[V]:
    """Return up to ``limit`` rows whose key is greater than ``after`` (all when it is None), in the key's order."""
    return sorted((row for row in rows if after is None or key(row) > after), key=key)[:limit]


def whole_groups(ordered: Sequence[V], group: Callable[[V], Any], limit: int) -> list[V]:
    """Return as many groups as fit into ``limit`` rows, none of them in part, but always the first one."""
    page: list[V] = []
    for _, rows in groupby(ordered, key=group):
        members = list(rows)
        if page and len(page) + len(members) > limit:
            break
        page += members
    return page
