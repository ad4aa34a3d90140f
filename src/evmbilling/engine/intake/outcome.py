"""What one unit of the intake comes to: its decisions so far, and what became of the items."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs
from attrs import frozen

from evmbilling.domain.decisions import Decision, StoreItem
from evmbilling.domain.reading.evidence import IntakeItem
from evmbilling.engine.context import Ports

_PARK_FIRST = timedelta(seconds=30)
_PARK_LONGEST = timedelta(hours=6)


@frozen(kw_only=True)
class IntakeReport:
    """What one call of the intake did: items taken, parked with a reason, and left because somebody holds the row."""

    taken: int = 0
    parked: int = 0
    left: int = 0


class Outcome:
    """Grows while a unit goes through its items.

    Attributes:
        decisions: what is to be written.
        taken, left: how many items; see :class:`IntakeReport`.

    """

    def __init__(self, ports: Ports, *, now: datetime) -> None:
        self._ports, self._now = ports, now
        self.decisions: list[Decision] = []
        self.taken = self.left = self._parked = 0

    def ignore(self, item: IntakeItem, reason: str) -> None:
        """Never look at an item again; the caller counts it as taken."""
        self._ports.telemetry.count("evidence_ignored", reason=reason)
        self.decisions.append(StoreItem(attrs.evolve(item, wait="never", reason=reason)))

    def park(self, item: IntakeItem, reason: str) -> None:
        """Put an item aside, each time for twice as long."""
        pause = min(_PARK_FIRST * 2 ** min(item.attempts, 16), _PARK_LONGEST)
        self.decisions.append(StoreItem(parked(item, reason, self._now + pause)))
        self._parked += 1
        self._ports.telemetry.count("evidence_parked", reason=reason)

    def leave_taken(self, items: int) -> None:
        """Leave so many of the items that were counted as taken: somebody holds their rows."""
        self.taken, self.left = self.taken - items, self.left + items

    def report(self) -> IntakeReport:
        """Return how many items there were of each kind."""
        return IntakeReport(taken=self.taken, parked=self._parked, left=self.left)


def parked(item: IntakeItem, reason: str, retry_at: datetime) -> IntakeItem:
    """Return the item as it waits for its next attempt."""
    return attrs.evolve(item, wait="time", retry_at=retry_at, attempts=item.attempts + 1, reason=reason)
