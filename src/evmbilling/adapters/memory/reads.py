"""What the roles of a unit share: its layer of the tables, for as long as it is open."""

from __future__ import annotations

from evmbilling.adapters.memory.tables import Tables
from evmbilling.errors import StorageError


class Reads:
    """Reads one layer of the tables until the unit ends."""

    def __init__(self, layer: Tables, *, write: bool) -> None:
        self._layer: Tables | None = layer
        self._write = write

    @property
    def _tables(self) -> Tables:
        if self._layer is None:
            raise StorageError("this unit has ended")
        return self._layer

    def _must_write(self) -> None:
        """Refuse in a unit that only reads."""
        if not self._write:
            raise StorageError("this unit was opened for reading only")

    def _end(self) -> None:
        self._layer = None
