"""Turns to write: SQLite lets one transaction write at a time, and does not keep a queue."""

from __future__ import annotations

import threading
from collections import deque

from evmbilling.errors import RetryTransaction


class Turns:
    """Lets threads write one after another, in the order in which they came.

    A connection that finds SQLite's file locked sleeps, looks again, and sleeps longer; one that has just committed
    asks at once and wins. Among the threads of a worker the same few then win for seconds, until another one's busy
    timeout has run out, and those that lose keep the connections of the pool meanwhile. So threads wait here, before
    they take a connection. Other processes, and the host's own connections, still wait in SQLite's way.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def taken(self, seconds: float) -> Turn:
        """Wait for the turn, and have it for the block.

        Raises:
            RetryTransaction: it did not come in so many seconds; nothing was written.

        """
        return Turn(self, seconds)

    def take(self, seconds: float) -> None:
        """Wait for the turn; see :meth:`taken`."""
        with self._mutex:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            came = mine.acquire(timeout=seconds)
        except BaseException:
            # A signal's handler raised: whoever is next must not wait for a thread that has gone.
            if not self._leave_queue(mine):
                self.hand_on()
            raise
        if not came and self._leave_queue(mine):
            raise RetryTransaction("database is locked: run your whole transaction again", reason="database is locked")

    def _leave_queue(self, mine: threading.Lock) -> bool:
        """Stop waiting; False when the turn came at the last moment."""
        with self._mutex:
            if mine not in self._waiting:
                return False
            self._waiting.remove(mine)
            return True

    def hand_on(self) -> None:
        """Let the next one have the turn."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


class Turn:
    """The turn for a block."""

    def __init__(self, turns: Turns, seconds: float) -> None:
        self._turns = turns
        self._seconds = seconds

    def __enter__(self) -> None:
        """Wait for the turn."""
        self._turns.take(self._seconds)

    def __exit__(self, *_: object) -> None:
        """Hand it on."""
        self._turns.hand_on()
