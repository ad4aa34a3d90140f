"""Asking ahead: several requests on their way at a time, and what comes of them taken in order, piece by piece.

Who takes them writes one piece while the next ones come. A request ends early when a node wants fewer blocks at once
than were asked for; what is left of it is asked for at once, whether or not who takes the pieces is busy.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs
from attrs import field, frozen, mutable

from evmbilling.adapters.evm.reading.chunks import START, Spans
from evmbilling.domain.reading.evidence import ChainLog, ScannedRange

AT_ONCE: Final = 2
"""Requests that are on their way, or whose pieces wait, at a time. Two are on their way only while who takes the pieces
waits for them: while that one is busy, a second request would take processors from it, and come no sooner."""
BUFFER: Final = 24 << 20
"""Bytes of answers, on their way or waiting to be taken, above which no further request is made."""


@frozen
class Piece:
    """A range that was read, and how many bytes its answers had."""

    scanned: ScannedRange
    octets: int

    def with_logs(self, logs: Sequence[ChainLog]) -> Piece:
        """Return the same piece with these logs in place of its own."""
        return Piece(attrs.evolve(self.scanned, logs=logs), self.octets)


@mutable(eq=False)
class _Asked:
    """A request for the blocks ``first`` to ``last``: what came of it and was not taken, and how it ended."""

    first: int
    last: int
    pieces: deque[Piece] = field(factory=deque)
    ended: bool = False
    failure: BaseException | None = None

    @property
    def octets(self) -> int:
        """How many bytes wait to be taken."""
        return sum(piece.octets for piece in self.pieces)


class Ahead:
    """Requests for the blocks ``first`` to ``last``, in order. One thread takes; close it in any case.

    Args:
        read: yields consecutive pieces from the first block that it is given on, to the last one or earlier.
        shape: of the filters, for which ``spans`` knows how many blocks to ask for.

    """

    def __init__(
        self, read: Callable[[int, int], Iterable[Piece]], first: int, last: int, *, spans: Spans, shape: Hashable
    ) -> None:
        self._read, self._next, self._last = read, first, last
        self._spans, self._shape = spans, shape
        self._line: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._over = self._awaited = False
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="evmbilling-reader")

    def take(self) -> ScannedRange | None:
        """Return the next range, when it has come; None when there is none any more.

        Raises:
            BaseException: what the request raised, after everything that came before.

        """
        with self._changed:
            while True:
                if not self._line:
                    if self._next > self._last:
                        return None
                    self._ask()
                front = self._line[0]
                if front.pieces:
                    piece = front.pieces.popleft()
                    self._tidy()
                    self._fill()
                    return piece.scanned
                if front.failure is not None:
                    raise front.failure
                if not self._tidy():
                    self._wait()

    def _wait(self) -> None:
        """Wait for a piece; meanwhile nobody is kept from anything by more requests."""
        self._awaited = True
        self._fill()
        self._changed.wait()
        self._awaited = False

    def close(self) -> None:
        """Ask no more; only what is on its way is waited for."""
        with self._changed:
            self._over = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _tidy(self) -> bool:
        """Leave a request of which everything was taken; say whether it was one."""
        front = self._line[0]
        done = front.ended and not front.pieces and front.failure is None
        if done:
            self._line.popleft()
        return done

    def _fill(self) -> None:
        while self._next <= self._last and not self._over and self._has_room():
            self._ask()

    def _ask(self) -> None:
        span = self._spans.newest(self._shape)
        blocks = START if span is None else span.blocks
        asked = _Asked(self._next, min(self._last, self._next + blocks - 1))
        self._next = asked.last + 1
        self._line.append(asked)
        self._threads.submit(self._work, asked)

    def _work(self, asked: _Asked) -> None:
        came = asked.first - 1
        try:
            for piece in self._read(asked.first, asked.last):
                came = piece.scanned.last.number
                with self._changed:
                    asked.pieces.append(piece)
                    self._changed.notify_all()
                    if self._over:
                        return
                del piece  # whoever takes it lets go of it
        except BaseException as error:  # noqa: BLE001  - it is raised where it is taken
            asked.failure = error
        finally:
            with self._changed:
                asked.ended = True
                if asked.failure is None and came < asked.last and not self._over:
                    self._ask_rest(asked, came + 1)
                if asked.failure is None:
                    self._fill()
                self._changed.notify_all()

    def _ask_rest(self, asked: _Asked, first: int) -> None:
        """Ask for what a request left, before everything else that is to be asked for."""
        if asked is self._line[-1]:
            self._next = first
            return
        rest = _Asked(first, asked.last)
        self._line.insert(self._line.index(asked) + 1, rest)
        self._threads.submit(self._work, rest)

    def _has_room(self) -> bool:
        """Whether a further request keeps within the bounds. The first one goes alone: others learn from it."""
        span = self._spans.newest(self._shape)
        if len(self._line) >= AT_ONCE or span is None or not span.known:
            return False
        if not self._awaited and not all(asked.ended for asked in self._line):
            return False
        held = span.expected_bytes(span.blocks)
        for asked in self._line:
            held += asked.octets if asked.ended else span.expected_bytes(asked.last - asked.first + 1)
        return held <= BUFFER
