"""One process of a worker that does one step or all of them, scene by scene, and may die in one of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crash_digest import digest, told_wrongly, work_of_workers
from crash_script import tell_of_statements
from crash_world import Receiver
from kinds_scene import LOOKS, SharedWorld, begin_scene, open_engine

from evmbilling.factory import BillingEngine
from evmbilling.ports import crash
from evmbilling.working.steps import STEPS, Step
from evmbilling.working.workers import Workers

KINDS = tuple(step.name for step in STEPS)
CELERY = "celery"
LATER = 600
"""Seconds after which somebody starts a process again: every lease of the dead one is over."""
NOWHERE = "nowhere"


class Worker:
    """A process that does every step of a worker in turn, as ``evmbilling worker --once`` does.

    Args:
        url, folder: the database, and where the world outside is remembered.
        ahead: seconds that its clock is ahead of the chain.
        kind: the step in which it may die; any when left out.
        dies_at: where, as the variable says; nowhere when left out.
        fine: die around every statement and every question to the node as well.

    """

    def __init__(
        self, url: str, folder: Path, *, ahead: int = 0, kind: str = "", dies_at: str = NOWHERE, fine: bool = False
    ) -> None:
        self.world = SharedWorld(folder, ahead=ahead)
        self.engine = open_engine(url, folder, self.world, fine=fine)
        if fine:
            tell_of_statements(self.engine)
        self._folder, self._kind, self._dies_at = folder, kind, dies_at
        self._workers = {step.name: self._worker(step) for step in STEPS}
        self.failing: dict[str, str | None] = {}
        self.passed: dict[str, Counter[str]] = {step.name: Counter() for step in STEPS}

    def _worker(self, step: Step) -> Workers:
        return Workers(self.engine, (step,), now=self.engine.watch.now, networks=lambda: ("local",))

    def look(self, scene: str, look: int, *, without: str = "") -> None:
        """Bring a scene to this look, and do every step once."""
        begin_scene(scene, look, self.engine, self.world)
        self.failing = {}
        for step, workers in self._workers.items():
            if step != without:
                with self._in_danger(step):
                    jobs = workers.once().jobs.values()
                self.failing |= {job.name: job.error for job in jobs if job.failing}

    def live(self, scene: str) -> None:
        """Look at a scene as often as it takes until it is over."""
        for look in range(LOOKS):
            self.look(scene, look)

    @contextmanager
    def _in_danger(self, step: str) -> Iterator[None]:
        before = crash.passes.copy()
        if self._kind in ("", step):
            os.environ[crash.CRASH_VARIABLE] = self._dies_at
        yield
        os.environ.pop(crash.CRASH_VARIABLE, None)
        self.passed[step] += crash.passes - before


def first_life(
    url: str, folder: Path, scene: str, kind: str = "", dies_at: str = NOWHERE, *, fine: bool = False
) -> dict[str, dict[str, int]]:
    """Live a scene, and die in it or not; return how often each place was passed, by step."""
    crash.passes.clear()
    worker = Worker(url, folder, kind=kind, dies_at=dies_at, fine=fine)
    worker.live(scene)
    worker.engine.close()
    return {step: dict(places) for step, places in worker.passed.items()}


def others(url: str, folder: Path, scene: str, kind: str) -> None:
    """Do what processes of the other kinds do while nobody has noticed yet that one is gone."""
    worker = Worker(url, folder)
    worker.look(scene, 0, without=kind)
    worker.engine.close()


def second_life(url: str, folder: Path, scene: str) -> dict[str, Any]:
    """Find what a dead process left, come to the end of the scene, and return the books."""
    worker = Worker(url, folder, ahead=LATER)
    worker.live(scene)
    worker.look(scene, LOOKS - 1)
    books = books_of(worker.engine, worker.world, folder)
    worker.engine.close()
    return as_json(books | {"failing": worker.failing})


def books_of(engine: BillingEngine, world: SharedWorld, folder: Path) -> dict[str, Any]:
    """Return what has to be the same whoever died."""
    world.chain.wrong_chain(world.chain.chain_id)
    told = told_wrongly(engine, Receiver(folder).told(), most=2)
    return digest(engine) | work_of_workers(engine) | {"told wrongly": told}


def as_json(books: dict[str, Any]) -> dict[str, Any]:
    """Return books as they are after a journey through a pipe."""
    found: dict[str, Any] = json.loads(json.dumps(books))
    return found
