"""Counting what a plan allows.

Clauses of the contract; ``evmbilling.testing.conformance.QuotaConformance`` holds a quota backend to each of them:

1. ``consume`` takes the whole amount or nothing, and says what is left, which is never negative.
2. ``check`` consumes nothing and answers as ``consume`` would.
3. Any number of threads together never take more than there is, and never less.
4. Who has no plan, and what no plan names, has nothing left. A decision that cannot be made is a refusal, not an error.
5. ``plan_changed`` sets what is allowed: a repeated event changes nothing, one that came too late (a lower ``seq`` than
   another about the same user and product) neither, and what was used stays used. A change that cannot be kept raises.
6. Users, limits and products are apart.
7. Amounts are exact whole numbers of any size.
8. An amount that is no whole number above zero is an InputError that names ``amount``; nothing is consumed.
9. With ``many_processes``: several processes together never take more than there is.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from evmbilling.domain.messages.events import Event


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
