"""What belongs to one process: its name in leases, and what its threads have taken."""

from __future__ import annotations

import os
import secrets as randomness
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet


class ProcessName:
    """Names the process that asks: a lease of one must not pass for that of another.

    An engine that was made before a fork is in each of the processes; those that were forked add their number.
    """

    def __init__(self) -> None:
        self._drawn = f"worker-{randomness.token_hex(8)}"
        self._made_in = os.getpid()

    def __str__(self) -> str:
        """Return the name."""
        own = os.getpid()
        return self._drawn if own == self._made_in else f"{self._drawn}-{own}"


class Claims:
    """Names that a thread of this process has taken: a lease tells processes apart, and this their threads."""

    def __init__(self) -> None:
        self.begin()
        _all_claims.add(self)

    def begin(self) -> None:
        """Have nothing taken, as in a process that was forked: what threads had taken before, none of its own has."""
        self._lock = threading.Lock()
        self._taken: set[str] = set()

    @contextmanager
    def taken(self, name: str) -> Iterator[bool]:
        """Take a name for the block; False when another thread has it."""
        lock, taken = self._lock, self._taken
        with lock:
            free = name not in taken
            taken.add(name)
        try:
            yield free
        finally:
            if free:
                with lock:
                    taken.discard(name)


_all_claims: WeakSet[Claims] = WeakSet()


def _forked() -> None:
    for claims in list(_all_claims):
        claims.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
