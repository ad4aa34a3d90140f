"""How many blocks to ask for at once: as many as a node answers well, learned from its answers and refusals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

from evmbilling.adapters.evm.rpc.refusals import Refusal, RefusalKind, usable_suggestion

START: Final = 1_000
"""Blocks of the first request."""
MOST: Final = 100_000
TARGET_LOGS: Final = 8_000
TARGET_BYTES: Final = 4 << 20
TARGET_SECONDS: Final = 3.0
_GROWTH: Final = 2.0
_PROBE_SECONDS: Final = 3600.0
_ROUND_DIGITS: Final = ("1", "2", "5")
_SMALLEST_CAP: Final = 1_000


class Span:
    """What one node takes of filters of one shape. Safe for threads.

    It grows while answers are small, at most twofold, and shrinks at once when one is large or refused. A cap that the
    node names holds for an hour; then larger ranges are tried again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, start: int = START) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._size: float = start
        self._cap: int | None = None
        self._cap_until = 0.0
        self._known = False
        self._bytes_a_block = 0.0

    def __repr__(self) -> str:
        return f"<Span {self.blocks}>"

    @property
    def blocks(self) -> int:
        """How many blocks to ask for next."""
        with self._lock:
            return int(self._size)

    @property
    def known(self) -> bool:
        """Whether the node has answered once: before that, a second request would repeat the mistake of the first."""
        with self._lock:
            return self._known

    def expected_bytes(self, blocks: int) -> int:
        """Return about how large an answer for so many blocks will be."""
        with self._lock:
            return int(self._bytes_a_block * blocks)

    def begin_with(self, blocks: int) -> None:
        """Take another start, when the node has not answered yet."""
        with self._lock:
            if not self._known and self._cap is None:
                self._size = float(max(1, min(blocks, self._size)))

    def narrow(self, blocks: int) -> None:
        """Go on with no more blocks than that: another question is asked now, whose answers are longer."""
        with self._lock:
            self._size = float(max(1, min(blocks, self._size)))

    def served(self, blocks: int, *, logs: int, octets: int, seconds: float) -> None:
        """Learn from an answer: so many blocks gave so many logs and bytes in such a time."""
        load = max(logs / TARGET_LOGS, octets / TARGET_BYTES, seconds / TARGET_SECONDS)
        with self._lock:
            self._known = True
            self._bytes_a_block = octets / blocks
            if self._cap is not None and self._clock() >= self._cap_until:
                self._cap = None
            if load > 1:
                self._size = max(1.0, min(self._size, blocks / min(load, 16.0)))
            elif blocks >= int(self._size):
                growth = min(_GROWTH, 1 / load) if load else _GROWTH
                self._size = min(self._size * growth, float(self._cap or MOST))

    def refused(self, refusal: Refusal, first: int, last: int) -> bool:
        """Learn from a refusal of the blocks ``first`` to ``last``; False when fewer cannot be asked for."""
        blocks = last - first + 1
        if blocks == 1:
            return False
        smaller = blocks // 2
        suggested = usable_suggestion(refusal, first, last)
        if suggested is not None:
            smaller = suggested[1] - first + 1
        with self._lock:
            if refusal.kind is RefusalKind.RANGE_CAP:
                # What is named above what was asked for is not the cap that was met.
                named = refusal.cap if refusal.cap is not None and refusal.cap < blocks else smaller
                self._cap = min(named, self._cap or named)
                self._cap_until = self._clock() + _PROBE_SECONDS
                smaller = self._cap
            self._size = float(max(1, min(self._size, smaller)))
        return True


class Spans:
    """The spans of all nodes of a chain. Safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, Hashable], Span] = {}
        self._newest: dict[Hashable, Span] = {}
        self._lock = threading.Lock()

    def of(self, node: str, shape: Hashable) -> Span:
        """Return the span of a node for filters of one shape."""
        with self._lock:
            self._newest[shape] = span = self._known.setdefault((node, shape), Span(self._clock))
            return span

    def newest(self, shape: Hashable) -> Span | None:
        """Return the span that was looked up last for filters of this shape."""
        with self._lock:
            return self._newest.get(shape)


def is_cap(count: int) -> bool:
    """Whether an answer of so many logs may have been cut: 1,000, 2,000, 5,000, 10,000, 20,000, 50,000 and so on."""
    digits = str(count)
    return count >= _SMALLEST_CAP and digits[0] in _ROUND_DIGITS and not digits[1:].strip("0")
