"""A clock that stands still until it is moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Lock

from evmbilling.domain.subscriptions.calendar import parse_instant
from evmbilling.errors import InputError


class FrozenClock:
    """The injected clock of tests and simulations (port :class:`evmbilling.ports.clock.Clock`); safe among threads.

    Args:
        start: what it shows first; an aware datetime.

    """

    def __init__(self, start: datetime = datetime(2026, 1, 31, 12, tzinfo=UTC)) -> None:
        self._now = parse_instant(start, field="start")
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<FrozenClock {self.now().isoformat()}>"

    def now(self) -> datetime:
        """Return the instant that it shows."""
        with self._lock:
            return self._now

    def set(self, instant: datetime) -> datetime:
        """Show another instant, later or earlier: clocks of real machines go back, too."""
        moved = parse_instant(instant, field="instant")
        with self._lock:
            self._now = moved
        return moved

    def advance(self, by: timedelta | None = None, **units: float) -> datetime:
        """Move forward by a duration, or by the units that ``timedelta`` takes: ``advance(days=30, seconds=1)``.

        Raises:
            InputError: nothing, both or a negative duration is given.

        """
        if (by is None) == (not units):
            raise InputError("say how far, once: a timedelta, or units such as days=1", field="by")
        step = timedelta(**units) if by is None else by
        if step < timedelta():
            raise InputError("a clock advances forward; use set() to turn it back", field="by")
        with self._lock:
            self._now += step
            return self._now
