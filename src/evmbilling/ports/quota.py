"""Counting what a plan allows."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from evmbilling.domain.events import Event


@frozen(kw_only=True)
class QuotaAnswer:
    """Whether a use fits, and what is left in the window; never negative."""

    allowed: bool
    left: int


class QuotaBackend(Protocol):
    """Counts uses of named limits. A decision that cannot be made is a refusal."""

    def check(self, user_id: str, limit: str, amount: int = 1) -> QuotaAnswer:
        """Say whether ``amount`` more would fit; consumes nothing."""
        ...

    def consume(self, user_id: str, limit: str, amount: int = 1) -> QuotaAnswer:
        """Take ``amount`` if it fits, atomically under any number of callers."""
        ...

    def plan_changed(self, event: Event) -> None:
        """Learn that a user's plan changed (``billing.plan.changed.v1``); called at least once per event."""
        ...
