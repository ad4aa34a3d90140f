"""Time, ids and randomness, so that a whole merchant can be simulated."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The injected clock."""

    def now(self) -> datetime:
        """Return the present instant: aware, in UTC."""
        ...


class Ids(Protocol):
    """Makes identifiers."""

    def new_id(self) -> str:
        """Return a fresh UUIDv7 in canonical text form (RFC 9562), at least 62 random bits."""
        ...

    def token(self) -> str:
        """Return 128 random bits or more as URL-safe text."""
        ...
