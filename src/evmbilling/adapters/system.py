"""The real clock and real randomness."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from attrs import define, field

from evmbilling.domain.identity import UUID7_RANDOM_BITS, uuid7_text

_STEP_BITS = 62
_TOKEN_BYTES = 16


class SystemClock:
    """The machine's clock (port :class:`evmbilling.ports.clock.Clock`)."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        return datetime.now(UTC)


@define
class Stamps:
    """Makes the 122 free bits of UUIDv7s: always growing, also within a millisecond and when the clock goes back.

    Within one millisecond, fresh random bits that would sort below the last value give way to a random step above
    it (RFC 9562, 6.2, method 2); a carry goes into the milliseconds.

    Args:
        random_bits: returns an integer of so many random bits.

    """

    random_bits: Callable[[int], int]
    _last: int = field(default=0, init=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False, eq=False)

    def next(self, millis: int) -> int:
        """Return a value above all before, made at this Unix millisecond."""
        with self._lock:
            stamp = millis << UUID7_RANDOM_BITS | self.random_bits(UUID7_RANDOM_BITS)
            if stamp <= self._last:
                stamp = self._last + 1 + self.random_bits(_STEP_BITS)
            self._last = stamp
            return stamp


class SystemIds:
    """Ids from the machine's clock and the operating system's randomness (port :class:`evmbilling.ports.clock.Ids`).

    One object is shared by all threads of an engine; what it makes sorts in the order of making.
    """

    def __init__(self) -> None:
        self._stamps = Stamps(secrets.randbits)

    def new_id(self) -> str:
        """Return a fresh UUIDv7 in canonical text form: 74 random bits, at least 62 of them fresh."""
        return uuid7_text(self._stamps.next(time.time_ns() // 1_000_000))

    def token(self) -> str:
        """Return 128 random bits as 22 URL-safe characters."""
        return secrets.token_urlsafe(_TOKEN_BYTES)
