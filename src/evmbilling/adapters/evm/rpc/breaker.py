"""When a node that fails is asked again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Literal

TOLERATED: Final = 5
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0

Standing = Literal["closed", "doubtful", "open", "half_open"]


class Breaker:
    """Counts failures in a row. Safe for threads.

    After the first a node is *doubtful*: it is asked last until its pause is over. After ``TOLERATED`` of them the
    circuit is *open*: it is not asked at all. When the pause is over one caller alone may try (*half open*): an answer
    closes the circuit, a failure doubles the pause.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0
        self._open = False
        self._trying = 0.0

    @property
    def standing(self) -> Standing:
        """How it stands now."""
        with self._lock:
            return self._standing()

    @property
    def waits(self) -> float:
        """Seconds until the pause is over; 0 when there is none."""
        with self._lock:
            return max(self._until - self._clock(), 0.0) if self._failures else 0.0

    def admit(self, trial_seconds: float) -> bool:
        """Say whether a caller may ask now; a trial that says nothing for so many seconds lets the next one try."""
        with self._lock:
            standing = self._standing()
            if standing != "half_open":
                return standing != "open"
            now = self._clock()
            if now < self._trying:
                return False
            self._trying = now + trial_seconds
            return True

    def succeeded(self) -> None:
        """Close the circuit."""
        with self._lock:
            self._failures, self._open, self._trying = 0, False, 0.0

    def failed(self) -> bool:
        """Count a failure; True when the circuit opened by it."""
        with self._lock:
            was_open = self._open
            self._failures += 1
            self._open = self._failures >= TOLERATED
            pause = min(FIRST_PAUSE * 2 ** min(self._failures - 1, 16), LONGEST_PAUSE)
            self._until = self._clock() + pause
            self._trying = 0.0
            return self._open and not was_open

    def _standing(self) -> Standing:
        if not self._failures:
            return "closed"
        is_over = self._clock() >= self._until
        if self._open:
            return "half_open" if is_over else "open"
        return "closed" if is_over else "doubtful"
