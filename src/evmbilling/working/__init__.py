"""Calling the engine's worker steps on a schedule: in threads, until somebody says that it is enough."""

from evmbilling.working.collector import settle_collector
from evmbilling.working.health import HealthServer
from evmbilling.working.rhythm import Rhythm
from evmbilling.working.state import JobHealth, JobState, WorkerHealth
from evmbilling.working.steps import ELSEWHERE, STEPS, Call, Step, chosen
from evmbilling.working.workers import Workers

__all__ = [
    "ELSEWHERE",
    "STEPS",
    "Call",
    "HealthServer",
    "JobHealth",
    "JobState",
    "Rhythm",
    "Step",
    "WorkerHealth",
    "Workers",
    "chosen",
    "settle_collector",
]
