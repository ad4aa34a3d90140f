"""What the roles of a unit share: its layer of the tables, for as long as it is open."""

from __future__ import annotations

from evmbilling.adapters.memory.tables import Tables
from evmbilling.errors import StorageError


class Reads:
    """Reads one layer of the tables until the unit ends."""

    def __init__(self, layer: Tables, *, write: bool) -> None:
        self._layer = layer
        self._write = write
        self._closed: str | None = None

    @property
    def _tables(self) -> Tables:
        if self._closed is not None:
            raise StorageError(self._closed)
        return self._layer

    def _must_write(self) -> None:
        """Refuse in a unit that only reads."""
        if not self._write:
            raise StorageError("this unit was opened for reading only")

    def end(self, reason: str = "this unit has ended") -> None:
        """Refuse whatever is asked of the unit from now on."""
        self._closed = self._closed or reason
