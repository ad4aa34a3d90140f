"""Optimistic versions: a row is replaced only by the next state of what is stored."""

from __future__ import annotations

from typing import Protocol, TypeVar

from evmbilling.errors import VersionConflict


class Versioned(Protocol):
    """A row that carries the number of its state."""

    @property
    def version(self) -> int:
        """The number of this state of the row, from 1."""
        ...


Row = TypeVar("Row", bound=Versioned)


def check_saved(stored: Versioned | None, row: Versioned) -> None:
    """Check that a row is version 1 of something new, or one above the stored version.

    Raises:
        VersionConflict: it is neither.

    """
    before = stored.version if stored else 0
    if row.version != before + 1:
        raise VersionConflict(stored=before, given=row.version)


def replaced(stored: Row | None, row: Row) -> Row:
    """Return the stored row that ``row`` follows.

    Raises:
        VersionConflict: nothing is stored, or not the version below.

    """
    if stored is None:
        raise VersionConflict("there is no such row to replace", stored=0, given=row.version)
    check_saved(stored, row)
    return stored
