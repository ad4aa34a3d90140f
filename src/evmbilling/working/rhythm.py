"""When a step is called next: pauses, and back-off that spreads out what failed together."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from attrs import field, frozen

LONGEST: Final = 60
"""Seconds between two tries of what keeps failing."""
_DOUBLINGS: Final = 6
_FINE: Final = 1000


def _any_part() -> float:
    return secrets.randbelow(_FINE) / _FINE


@frozen(kw_only=True)
class Rhythm:
    """Pauses between calls, in seconds.

    Attributes:
        longest: the pause of what keeps failing.
        part: gives a number from 0 up to 1; tests give their own.

    """

    longest: float = LONGEST
    part: Callable[[], float] = field(default=_any_part)

    def rest(self, pause: float) -> float:
        """Return the pause after a look that found nothing to do: up to a fifth longer, so that processes spread."""
        return pause * (1 + self.part() / 5)

    def back_off(self, pause: float, failures: int) -> float:
        """Return the pause after so many failures in a row: it doubles, and half of it is left to chance."""
        grown = pause * (1 << min(failures, _DOUBLINGS))
        full = max(min(grown, self.longest), min(pause, self.longest))
        return full * (1 + self.part()) / 2
