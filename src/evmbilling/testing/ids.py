"""Ids that come out the same for the same seed and clock."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime, timedelta
from threading import Lock

from evmbilling.adapters.system import Stamps
from evmbilling.domain.identity import uuid7_text
from evmbilling.ports.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class SeededIds:
    """Deterministic ids for tests and simulations (port :class:`evmbilling.ports.clock.Ids`); never for production.

    Args:
        seed: two objects with one seed and equal clocks give the same ids in the same order.
        clock: the time inside the UUIDv7s.

    """

    def __init__(self, seed: int | str, clock: Clock) -> None:
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311  - repeatable on purpose; SystemIds is the real one
        self._lock = Lock()
        self._stamps = Stamps(self._random.getrandbits)

    def new_id(self) -> str:
        """Return the next UUIDv7 in canonical text form."""
        return uuid7_text(self._stamps.next((self._clock.now() - _EPOCH) // _MILLISECOND))

    def token(self) -> str:
        """Return the next 128 bits as 22 URL-safe characters."""
        with self._lock:
            return base64.urlsafe_b64encode(self._random.randbytes(16)).rstrip(b"=").decode()
