"""Tasks that are ticks: each does what is due of one step of a worker, and finds it in the database.

A task carries no work, so one that is lost, repeated, late or run beside another one changes nothing: what was not done
is still due, and the next tick finds it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from celery import signals  # type: ignore[import-untyped]  # Celery ships no types

from evmbilling.errors import ConfigurationError, InputError
from evmbilling.working import STEPS, Step, Workers, chosen

if TYPE_CHECKING:
    from evmbilling.factory import BillingEngine

PREFIX: Final = "evmbilling"
ROUNDS: Final = 25
"""Calls of a step in one tick at most, so that a long backlog does not keep a process from other tasks."""
_LEAST_LIFE: Final = 60
_PATIENCE: Final = 3
"""How many pauses a tick may wait in its queue, and its sign of life lasts."""
_OWNER: Final = "celery"


def add_billing(
    app: Any, make_engine: Callable[[], BillingEngine], *, only: Iterable[str] | None = None, prefix: str = PREFIX
) -> Mapping[str, Any]:
    """Add a task for each step to a Celery application; return them by the names of the steps.

    A task ``evmbilling.<step>`` does its step until nothing is left, a bounded number of times, and returns how each of
    its jobs is, as JSON values. A step of which every network has a thread in ``evmbilling worker`` sends a task for
    each network, so that none waits for another's node. What fails is logged like a worker's failures and is tried by
    the next tick; the task itself does not fail.

    Args:
        app: the Celery application.
        make_engine: makes an engine. It is called in the process that does the first tick, after Celery has forked, and
            must make a new one: connections are not shared with other processes.
        only: names of steps; all when left out.
        prefix: stands before the names of the tasks.

    Raises:
        InputError: there is no such step (``field="only"``).

    """
    engines = _Engines(make_engine, {step.name: step for step in _wanted(only)})
    signals.worker_process_shutdown.connect(engines.close, weak=False)
    signals.worker_shutdown.connect(engines.close, weak=False)
    return {name: _task(app, engines, step, f"{prefix}.{name}") for name, step in engines.steps.items()}


def beat_schedule(
    only: Iterable[str] | None = None, *, prefix: str = PREFIX, queue: str | None = None
) -> dict[str, dict[str, Any]]:
    """Return entries for Celery's ``beat_schedule``: each step as often as ``evmbilling worker`` looks for work.

    A tick that waited in its queue for three pauses is dropped, because others came after it.

    Args:
        only, prefix: as for :func:`add_billing`.
        queue: where the ticks go; the application's own choice when left out.

    Raises:
        InputError: there is no such step (``field="only"``).

    """
    entries = {}
    for step in _wanted(only):
        options: dict[str, Any] = {"expires": step.pause * _PATIENCE}
        if queue is not None:
            options["queue"] = queue
        name = f"{prefix}.{step.name}"
        entries[name] = {"task": name, "schedule": float(step.pause), "options": options}
    return entries


def _wanted(only: Iterable[str] | None) -> Sequence[Step]:
    if only is None:
        return STEPS
    names = set(only)
    strange = sorted(names - {step.name for step in STEPS})
    if strange:
        raise InputError(f"there is no step {', '.join(strange)}", field="only")
    return tuple(step for step in STEPS if step.name in names)


def _task(app: Any, engines: _Engines, step: Step, name: str) -> Any:
    def tick(network: str | None = None) -> dict[str, Any]:
        if step.by_network and network is None:
            for each in engines.networks():
                task.apply_async((each,), expires=step.pause * _PATIENCE)
            return {}
        return engines.tick(step, network)

    tick.__doc__ = f"Do the step {step.name} until nothing is left."
    # Celery shares tasks with every application of the process by default; then two shops would tick one engine.
    task = app.task(tick, name=name, ignore_result=True, shared=False)
    return task


class _Engines:
    """The engine of this process, made by its first tick; and what its steps have come to."""

    def __init__(self, make: Callable[[], BillingEngine], steps: Mapping[str, Step]) -> None:
        self.steps = steps
        self._make = make
        self._lock = threading.Lock()
        self._process: int | None = None
        self._engine: BillingEngine | None = None
        self._workers: dict[tuple[str, str | None], Workers] = {}
        self._inherited: list[object] = []

    def networks(self) -> list[str]:
        """Return the names of the networks in use."""
        return [known.network for known in self._own().networks_health()]

    def tick(self, step: Step, network: str | None) -> dict[str, Any]:
        """Do a step, on one network if it is one of many; return how it is."""
        engine = self._own()
        with self._lock:
            workers = self._workers.get((step.name, network))
            if workers is None:
                workers = self._workers[step.name, network] = _workers(engine, step, network)
        health = workers.once(ROUNDS)
        if workers.alive():
            lasts = max(_LEAST_LIFE, step.pause * _PATIENCE)
            engine.watch.beat([step.name], seconds=lasts, owner=_OWNER)
        return {name: job.as_document() for name, job in health.jobs.items()}

    def close(self, **_: object) -> None:
        """Let go of this process's engine; Celery calls it when a process ends."""
        with self._lock:
            if self._engine is not None and self._process == os.getpid():
                self._engine.close()
                self._engine = None

    def _own(self) -> BillingEngine:
        with self._lock:
            if self._engine is None or self._process != os.getpid():
                # One that was made before a fork is kept and never touched: ending its connections here would end them
                # in the process that they belong to.
                self._inherited.append(self._engine)
                self._engine = self._make()
                self._process = os.getpid()
                self._workers = {}
            return self._engine


def _workers(engine: BillingEngine, step: Step, network: str | None) -> Workers:
    try:
        steps = chosen(engine, [step.name])
    except ConfigurationError:
        steps = ()  # this engine does not have the step: there is nothing to do
    return Workers(engine, steps, now=engine.watch.now, networks=lambda: () if network is None else (network,))
