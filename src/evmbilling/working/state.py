"""How the jobs of a worker are: what its threads write and its health endpoint reads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from attrs import frozen

Condition = Literal["ok", "overdue", "off"]


@frozen(kw_only=True)
class JobHealth:
    """One job: a step, or a step on one network.

    Attributes:
        name: ``intake:mainnet``, ``sealer``.
        condition: ``overdue`` when its last success, or its start, is longer ago than it may be; ``off`` when it has
            nothing to work with, and ``error`` says what is missing.
        last_success: None before the first. age: whole seconds since then, or since it was started.
        calls, failures: since it was started; ``failing`` counts the failures in a row.
        error: code and words of the last failure; None when the last call succeeded.

    """

    name: str
    condition: Condition
    last_success: datetime | None
    age: int
    calls: int
    failures: int
    failing: int
    error: str | None

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "condition": self.condition,
            "last_success": None if self.last_success is None else self.last_success.isoformat(),
            "age_seconds": self.age,
            "calls": self.calls,
            "failures": self.failures,
            "failing": self.failing,
            "error": self.error,
        }


@frozen
class WorkerHealth:
    """All jobs of a worker, by name."""

    jobs: Mapping[str, JobHealth]

    @property
    def ok(self) -> bool:
        """Whether no job is overdue."""
        return all(job.condition != "overdue" for job in self.jobs.values())

    def as_document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        jobs = {name: job.as_document() for name, job in self.jobs.items()}
        return {"status": "ok" if self.ok else "overdue", "steps": jobs}


class JobState:
    """What one job has come to; written by its thread, read by others."""

    def __init__(self, name: str, step: str, *, overdue: float, now: datetime) -> None:
        self.name = name
        self.step = step
        self._overdue = overdue
        self._started = now
        self._lock = threading.Lock()
        self._success: datetime | None = None
        self._attended: datetime | None = None
        self._calls = self._failures = self._failing = 0
        self._error: str | None = None
        self._off = False

    @property
    def off(self) -> bool:
        """Whether it has nothing to work with."""
        return self._off

    @property
    def failing(self) -> int:
        """How many calls failed in a row."""
        return self._failing

    def succeeded(self, now: datetime) -> None:
        """Note a call that did what there was to do."""
        with self._lock:
            self._success, self._error, self._failing, self._calls = now, None, 0, self._calls + 1

    def failed(self, error: str, *, outside: datetime | None = None) -> int:
        """Note a call that failed, in these words; return how many did in a row.

        Args:
            outside: the present, when what failed is outside of the worker, which has done its part.

        """
        with self._lock:
            self._attended = outside or self._attended
            self._error, self._calls = error, self._calls + 1
            self._failures, self._failing = self._failures + 1, self._failing + 1
            return self._failing

    def attended(self, now: datetime) -> bool:
        """Whether somebody does this job: it succeeded not long ago, or was kept from it by what is outside."""
        with self._lock:
            last = max(filter(None, (self._success, self._attended)), default=self._started)
            return not self._off and (now - last).total_seconds() <= self._overdue

    def turned_off(self, why: str) -> None:
        """Note that there is nothing to work with."""
        with self._lock:
            self._off, self._error = True, why

    def health(self, now: datetime) -> JobHealth:
        """Return how it is."""
        with self._lock:
            age = max(0, int((now - (self._success or self._started)).total_seconds()))
            condition: Condition = "off" if self._off else "overdue" if age > self._overdue else "ok"
            return JobHealth(
                name=self.name,
                condition=condition,
                last_success=self._success,
                age=age,
                calls=self._calls,
                failures=self._failures,
                failing=self._failing,
                error=self._error,
            )
