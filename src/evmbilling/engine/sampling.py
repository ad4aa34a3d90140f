"""Saying less of what happens often: strangers must not be able to fill a log."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Final

_KINDS: Final = 256
_OTHER: Final = "other"


class Sampler:
    """Counts by kind, and says when to speak: the first time, the second, the fourth, the eighth … Safe for threads.

    There are 256 kinds at most; what comes later is one kind together.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def times(self, kind: str) -> int | None:
        """Count one more; return how many there were of its kind when it is to be said, else None."""
        with self._lock:
            if kind not in self._counts and len(self._counts) >= _KINDS:
                kind = _OTHER
            self._counts[kind] += 1
            count = self._counts[kind]
        return count if count & (count - 1) == 0 else None
