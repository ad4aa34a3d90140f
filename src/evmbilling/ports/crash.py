"""Places where a test may end the process, as a power cut would: between two steps that no transaction joins."""

from __future__ import annotations

import os
import signal
from collections import Counter

CRASH_VARIABLE = "EVMBILLING_CRASH_AT"
passes: Counter[str] = Counter()
"""How often each place was passed since the variable was set; those who kill processes choose their places by it."""


def crash_point(name: str) -> None:
    """Kill this process (SIGKILL) if ``EVMBILLING_CRASH_AT`` names this place; otherwise do nothing.

    ``dispatch.sent`` names the first pass, ``dispatch.sent:3`` the third, ``*:7`` the seventh of all places that are
    passed, whatever their names. Nothing is flushed, rolled back or said.
    """
    wanted = os.environ.get(CRASH_VARIABLE)
    if not wanted:
        return
    passes[name] += 1
    place, _, pass_ = wanted.partition(":")
    if place not in (name, "*"):
        return
    if (passes.total() if place == "*" else passes[name]) == int(pass_ or 1):
        os.kill(os.getpid(), signal.SIGKILL)
