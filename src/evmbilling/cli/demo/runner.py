"""Running the steps in order until one is not verified."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from evmbilling.cli.demo.checks import Check, Outcome, Step
from evmbilling.cli.demo.world import World
from evmbilling.errors import MissingExtra, MissingTool


def run_steps(steps: Sequence[Step], world: World, started: Callable[[Step], None]) -> Iterator[Outcome]:
    """Yield how each step went; after one that was not verified no other is begun.

    Raises:
        MissingTool, MissingExtra: something outside is not there; nothing is wrong with what is being shown.

    """
    for step in steps:
        started(step)
        outcome = _run(step, world)
        yield outcome
        if not outcome.ok:
            return


def _run(step: Step, world: World) -> Outcome:
    begun = time.monotonic()
    checks: list[Check] = []
    shown: dict[str, object] = {}
    error = None
    try:
        step.act(world)
        # What is verified before something is raised stays on the record.
        checks.extend(step.verify(world))
        shown = step.show(world) if step.show else {}
    except (MissingTool, MissingExtra):
        raise
    except Exception as caught:  # noqa: BLE001  - whatever is broken, the step says so and is not verified
        error = f"{type(caught).__name__}: {caught}"
    return Outcome(
        key=step.key, title=step.title, seconds=time.monotonic() - begun, checks=tuple(checks), shown=shown, error=error
    )
