"""How fast a node may be asked: as fast as we like until it says "too many requests"; then a rate that is learned."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

LONGEST_PAUSE: Final = 120.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_OWN_PAUSE: Final = 30.0
_SLOWEST: Final = 0.5
_AFTER_A_REFUSAL: Final = 0.7
_GROWTH: Final = 1.05
_GROW_AFTER: Final = 10.0
_FORGET_AFTER: Final = 600.0
_WINDOW: Final = 1.0


class Bucket:
    """A token bucket of one second's worth of calls, once a rate is known. Safe for threads.

    The rate begins below what was being asked when the node refused, falls with each further refusal, grows slowly
    while there is none, and is forgotten after ten minutes. A node's own ``Retry-After`` is honoured up to
    ``LONGEST_PAUSE`` seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rate: float | None = None
        self._tokens, self._filled_at = 0.0, 0.0
        self._paused_until, self._refusals = 0.0, 0
        self._refused_at, self._grown_at = 0.0, 0.0
        self._window_at, self._in_window, self._last_window = clock(), 0, 0.0

    @property
    def rate(self) -> float | None:
        """Calls a second that the node takes, as learned; None when nothing is known."""
        with self._lock:
            return self._rate

    @property
    def waits(self) -> float:
        """Seconds that the node wants to be left alone from now."""
        with self._lock:
            return max(self._paused_until - self._clock(), 0.0)

    def reserve(self, calls: int) -> float:
        """Take so many calls; return the seconds to wait before they are made. :meth:`give_back` what is not made."""
        with self._lock:
            now = self._clock()
            self._count(now, calls)
            self._grow(now)
            wait = max(self._paused_until - now, 0.0)
            if self._rate is None:
                return wait
            size = max(self._rate, 1.0)
            self._tokens = min(self._tokens + (now - self._filled_at) * self._rate, size)
            self._filled_at = now
            missing = min(float(calls), size) - self._tokens
            self._tokens -= calls
            return max(wait, missing / self._rate, 0.0)

    def give_back(self, calls: int) -> None:
        """Undo a reservation."""
        with self._lock:
            self._tokens += calls
            self._in_window = max(self._in_window - calls, 0)

    def refused(self, retry_after: float | None) -> None:
        """Learn from "too many requests"; ``retry_after`` in seconds as the node said, if it did."""
        with self._lock:
            now = self._clock()
            if self._rate is None or now - self._refused_at >= _WINDOW:
                # Threads whose requests were under way together are refused together: that is one refusal.
                seen = max(self._in_window / max(now - self._window_at, _WINDOW), self._last_window)
                self._rate = max((seen if self._rate is None else self._rate) * _AFTER_A_REFUSAL, _SLOWEST)
                self._tokens, self._filled_at = 0.0, now
            own = min(_FIRST_PAUSE * 2 ** min(self._refusals, 16), _LONGEST_OWN_PAUSE)
            pause = own if retry_after is None else min(max(retry_after, 0.0), LONGEST_PAUSE)
            self._refusals += 1
            self._refused_at = self._grown_at = now
            self._paused_until = max(self._paused_until, now + pause)

    def answered(self) -> None:
        """Note that it took a request."""
        with self._lock:
            self._refusals = 0

    def _count(self, now: float, calls: int) -> None:
        if now - self._window_at >= _WINDOW:
            self._last_window = self._in_window / (now - self._window_at)
            self._window_at, self._in_window = now, 0
        self._in_window += calls

    def _grow(self, now: float) -> None:
        if self._rate is None or now - self._grown_at < _GROW_AFTER:
            return
        if now - self._refused_at >= _FORGET_AFTER:
            self._rate = None
            return
        self._rate *= _GROWTH
        self._grown_at = now
