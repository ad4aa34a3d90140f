"""The threads of a worker: one for each step, or for each step and network; none waits for another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

from attrs import frozen

from evmbilling.domain.traces import trace_of
from evmbilling.errors import (
    BillingError,
    ConfigurationError,
    LeaseLost,
    MissingExtra,
    MissingTool,
    ProviderError,
    UnknownNetwork,
)
from evmbilling.working.rhythm import Rhythm
from evmbilling.working.state import JobState, WorkerHealth
from evmbilling.working.steps import Step

_log = logging.getLogger("evmbilling.worker")

LOOK_AROUND = 10
"""Seconds between two looks for networks that were added or archived."""


_MISSING = frozenset(kind.code for kind in (ConfigurationError, MissingExtra, MissingTool))
"""Codes of what a worker lacks itself, such as a key."""

Outcome = Literal["more", "idle", "failed", "off"]
"""What a call came to; ``more``: it has to be called again at once."""


@frozen
class Job:
    """A step, or a step on one network."""

    step: Step
    network: str | None

    @property
    def name(self) -> str:
        """What its thread and its health are called."""
        return self.step.name if self.network is None else f"{self.step.name}:{self.network}"


class Workers:
    """Does the chosen steps of an engine until it is told to stop.

    Args:
        engine: whose steps.
        steps: which ones.
        now: the clock of health.
        networks: gives the names of the networks in use; looked at again every few seconds.
        rhythm: the pauses.
        wait: waits for so many seconds, or less when the event is set; tests give their own.

    """

    def __init__(
        self,
        engine: object,
        steps: Sequence[Step],
        *,
        now: Callable[[], datetime],
        networks: Callable[[], Sequence[str]],
        rhythm: Rhythm | None = None,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self._engine = engine
        self._steps = tuple(steps)
        self._now = now
        self._networks = networks
        self._rhythm = rhythm or Rhythm()
        self._wait = wait
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._states: dict[str, JobState] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._wanted: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """The steps that it does."""
        return tuple(step.name for step in self._steps)

    def stop(self) -> None:
        """Let every thread finish the batch it is at, and begin no other; may be called from a signal handler."""
        self._stop.set()

    def health(self) -> WorkerHealth:
        """Return how every job is."""
        now = self._now()
        with self._lock:
            states = sorted(self._states.values(), key=lambda state: state.name)
        return WorkerHealth({state.name: state.health(now) for state in states})

    def alive(self) -> tuple[str, ...]:
        """Return the steps of which somebody does every job.

        A step that a node, a halted network or a clock keeps from its work is done by somebody: those have alerts of
        their own, and whoever is woken must not look for a worker that is there.
        """
        well: dict[str, bool] = {}
        now = self._now()
        with self._lock:
            states = list(self._states.values())
        for state in states:
            well[state.step] = well.get(state.step, True) and state.attended(now)
        return tuple(step.name for step in self._steps if well.get(step.name, False))

    def run(self, beat: Callable[[Sequence[str]], None] | None = None) -> None:
        """Work until :meth:`stop` was called and every thread has finished its batch.

        Args:
            beat: told every few seconds which steps are alive.

        """
        while not self._stop.is_set():
            self._look_around()
            if beat is not None:
                self._tell(beat)
            self._wait(self._stop, LOOK_AROUND)
        for thread in list(self._threads.values()):
            thread.join()

    def once(self, rounds: int = 1000) -> WorkerHealth:
        """Do every job in turn, each until it has nothing more to do, in this thread; return how that went.

        Args:
            rounds: calls of one job at most.

        """
        for job in self._jobs():
            state = self._state(job)
            try:
                for _ in range(0 if state.off else rounds):
                    if self._stop.is_set() or self._attempt(job, state) != "more":
                        break
            except _Gone:
                self._forget(job)
        return self.health()

    def _jobs(self) -> list[Job]:
        names = self._networks() if any(step.by_network for step in self._steps) else ()
        return [Job(step, network) for step in self._steps for network in (names if step.by_network else (None,))]

    def _state(self, job: Job) -> JobState:
        with self._lock:
            if job.name not in self._states:
                overdue = job.step.overdue
                self._states[job.name] = JobState(job.name, job.step.name, overdue=overdue, now=self._now())
            return self._states[job.name]

    def _look_around(self) -> None:
        """Start a thread for every job that has none; threads of networks that are gone end by themselves."""
        try:
            jobs = self._jobs()
        except Exception as error:  # noqa: BLE001  - the database is away: what runs goes on, the next look finds the rest
            _log.warning("networks cannot be listed: %s", _words(error), extra={"step": "networks"})
            jobs = [Job(step, None) for step in self._steps if not step.by_network]
            self._wanted |= {job.name for job in jobs}
        else:
            self._wanted = frozenset(job.name for job in jobs)
        for job in jobs:
            thread = self._threads.get(job.name)
            state = self._state(job)
            if (thread is None or not thread.is_alive()) and not state.off:
                thread = threading.Thread(target=self._work, args=(job, state), name=f"evmbilling-{job.name}")
                self._threads[job.name] = thread
                thread.start()

    def _tell(self, beat: Callable[[Sequence[str]], None]) -> None:
        try:
            beat(self.alive())
        except Exception as error:  # noqa: BLE001  - whoever looks for workers sees none; the work itself goes on
            _log.warning("no sign of life could be left: %s", _words(error), extra={"step": "heartbeat"})

    def _work(self, job: Job, state: JobState) -> None:
        while not self._stop.is_set():
            if job.name not in self._wanted:
                self._forget(job)
                return
            begun = time.monotonic()
            try:
                outcome = self._attempt(job, state)
            except _Gone:
                self._forget(job)
                return
            if outcome == "off":
                return
            if outcome == "failed":
                self._wait(self._stop, self._rhythm.back_off(job.step.pause, state.failing))
            elif outcome == "idle":
                self._wait(self._stop, self._rhythm.rest(job.step.pause_after(time.monotonic() - begun)))

    def _forget(self, job: Job) -> None:
        _log.info("%s ends: its network is no longer in use", job.name, extra={"step": job.name})
        with self._lock:
            self._states.pop(job.name, None)
        self._threads.pop(job.name, None)

    def _attempt(self, job: Job, state: JobState) -> Outcome:
        """Call a step once. Raises nothing but that its network is gone."""
        try:
            done = [call.run(self._engine, job.network) for call in job.step.present(self._engine)]
        except LeaseLost:
            # Another worker is at it: nothing was written here, and nothing is wrong.
            state.succeeded(self._now())
            return "idle"
        except UnknownNetwork:
            raise _Gone from None
        except BaseException as error:  # noqa: BLE001  - a sink may raise SystemExit; one step never stops another
            return self._raised(job, state, error)
        stands = [did.stands for did in done if did.stands is not None]
        if stands:
            missing = any(code in _MISSING for said in stands for code in said.split(", "))
            self._failed(job, state, f"stands still: {stands[0]}", outside=not missing)
            return "failed"
        state.succeeded(self._now())
        return "more" if any(did.more for did in done) else "idle"

    def _raised(self, job: Job, state: JobState, error: BaseException) -> Outcome:
        if isinstance(error, ConfigurationError) and job.step.needs is not None and error.field == job.step.needs:
            state.turned_off(_words(error))
            _log.info("%s is off: %s", job.name, _words(error), extra={"step": job.step.name})
            return "off"
        unknown = None if isinstance(error, BillingError) else error
        self._failed(job, state, _words(error), unknown=unknown, outside=isinstance(error, ProviderError))
        return "failed"

    def _failed(
        self, job: Job, state: JobState, words: str, *, unknown: BaseException | None = None, outside: bool = False
    ) -> None:
        failing = state.failed(words, outside=self._now() if outside else None)
        facts: dict[str, Any] = {"step": job.step.name, "network": job.network, "failing": failing}
        # What fails with every look would fill the log: said the first time, then at every power of two.
        if failing & (failing - 1) == 0:
            if unknown is not None:
                facts["trace"] = trace_of(unknown)
            _log.warning("%s failed %d times: %s", job.name, failing, words, extra=facts)


class _Gone(Exception):
    """The network of a job is there no more."""


def _words(error: BaseException) -> str:
    """Return code and sentence of an error of ours; of others only the kind, because their words may hold secrets."""
    if isinstance(error, BillingError):
        return f"{error.code}: {error}"
    return type(error).__name__
