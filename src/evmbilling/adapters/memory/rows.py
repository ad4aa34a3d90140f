"""Rows by key, in layers: a unit writes into a layer of its own and lets it settle when it commits."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

from evmbilling.errors import StorageError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Index = Callable[[V], Hashable]
"""Where a row is found by other than its key; a row for which it answers None is left out."""


class Rows(Generic[K, V]):
    """Immutable rows by key with secondary indexes, as a layer over other rows or on the ground.

    What is written or dropped stays in the layer; :meth:`settle` hands it down. A layer that is thrown away has never
    been, which makes a rollback free and a commit as dear as what it changed.
    """

    __slots__ = ("_below", "_found", "_gone", "_indexes", "_rows")

    def __init__(self, indexes: Mapping[str, Index[V]] | None = None, *, below: Rows[K, V] | None = None) -> None:
        self._indexes: Mapping[str, Index[V]] = indexes or {}
        self._below = below
        self._rows: dict[K, V] = {}
        self._gone: set[K] = set()
        self._found: dict[tuple[str, Hashable], dict[K, None]] = {}

    def over(self) -> Rows[K, V]:
        """Return an empty layer over this one."""
        return Rows(self._indexes, below=self)

    def get(self, key: K) -> V | None:
        """Return the row with this key."""
        row = self._rows.get(key)
        if row is None and self._below is not None and key not in self._gone:
            return self._below.get(key)
        return row

    def put(self, key: K, row: V) -> None:
        """Insert or replace a row."""
        self._forget(key)
        self._rows[key] = row
        for name, value_of in self._indexes.items():
            value = value_of(row)
            if value is not None:
                self._found.setdefault((name, value), {})[key] = None

    def drop(self, key: K) -> None:
        """Remove a row; nothing happens when there is none."""
        self._forget(key)
        if self._below is not None:
            self._gone.add(key)

    def find(self, index: str, value: Hashable) -> list[V]:
        """Return the rows that an index has under a value, in no particular order."""
        return [row for _, row in self._find(index, value)]

    def values(self) -> list[V]:
        """Return all rows, in no particular order."""
        return [row for _, row in self._all()]

    def settle(self) -> None:
        """Hand everything that was written or dropped here down to the rows below."""
        if self._below is None:
            return
        for key in self._gone:
            self._below.drop(key)
        for key, row in self._rows.items():
            self._below.put(key, row)

    def _find(self, index: str, value: Hashable) -> Iterator[tuple[K, V]]:
        for key in self._found.get((index, value), ()):
            yield key, self._rows[key]
        if self._below is not None:
            yield from self._uncovered(self._below._find(index, value))  # noqa: SLF001  - the same class

    def _all(self) -> Iterator[tuple[K, V]]:
        yield from self._rows.items()
        if self._below is not None:
            yield from self._uncovered(self._below._all())  # noqa: SLF001  - the same class

    def _uncovered(self, items: Iterator[tuple[K, V]]) -> Iterator[tuple[K, V]]:
        return ((key, row) for key, row in items if key not in self._rows and key not in self._gone)

    def _forget(self, key: K) -> None:
        row = self._rows.pop(key, None)
        if row is None:
            return
        for name, value_of in self._indexes.items():
            entry = (name, value_of(row))
            keys = self._found.get(entry, {})
            keys.pop(key, None)
            if not keys:
                self._found.pop(entry, None)


def refer(rows: Rows[K, V], key: K, *, field: str) -> None:
    """Check that a row refers to one that is there, as a foreign key does.

    Raises:
        StorageError: it does not.

    """
    if rows.get(key) is None:
        raise StorageError("the row refers to one that is not there", field=field)
