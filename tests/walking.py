"""Random walks through what can happen: each step is a method of the walk, by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evmbilling.errors import BillingError


def take_step(walk: Any, steps: Sequence[str]) -> None:
    """Take one of these steps and note it in the walk's ``trail``; what is refused changes nothing."""
    step = walk.chance.choice(steps)
    walk.trail.append(step)
    try:
        getattr(walk, step)()
    except (BillingError, IndexError) as error:
        walk.trail[-1] += f"!{getattr(error, 'code', 'none')}"
