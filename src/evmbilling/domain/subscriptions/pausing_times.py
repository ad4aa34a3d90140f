"""Pauses, read from what was decided: when one runs or is to begin, and by how much it moved the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs
from attrs import frozen

from evmbilling.domain.subscriptions.subscriptions import SubscriptionChange


@frozen(kw_only=True)
class Pause:
    """A pause: from when, and until when once it was resumed.

    Attributes:
        period: the first one that begins later because of it, as it was when it was resumed, or else when it was made;
            None where that was never known.
        paid_to: the first one after that which was neither paid nor about to be, as is written down there; None counts
            as if nothing had been paid ahead.

    """

    seq: int
    since: datetime
    until: datetime | None = None
    period: int | None = None
    paid_to: int | None = None

    @property
    def length(self) -> timedelta:
        """For how long it lasted; nothing when it was taken back before it began."""
        return max(self.until - self.since, timedelta()) if self.until is not None else timedelta()


def pauses_of(changes: Sequence[SubscriptionChange]) -> list[Pause]:
    """Return the pauses of a subscription in the order in which they were decided."""
    found: list[Pause] = []
    for change in sorted(changes, key=lambda c: c.seq):
        if change.kind == "pause":
            made = Pause(seq=change.seq, since=change.effective_at, period=change.period, paid_to=change.paid_to)
            found.append(made)
        elif change.kind == "resume" and found and found[-1].until is None:
            last = found[-1]
            found[-1] = attrs.evolve(last, until=change.effective_at)
            if change.period is not None:
                found[-1] = attrs.evolve(found[-1], period=change.period, paid_to=change.paid_to)
    return found


def open_pause(changes: Sequence[SubscriptionChange]) -> Pause | None:
    """Return the pause that runs or is to begin; None when there is none."""
    found = pauses_of(changes)
    return found[-1] if found and found[-1].until is None else None


def running_moment(changes: Sequence[SubscriptionChange], now: datetime) -> datetime:
    """Return the moment whose period runs: none begins in a pause, whatever the calendar says until it is over."""
    pause = open_pause(changes)
    return min(now, pause.since) if pause is not None else now


def paused_seconds(changes: Sequence[SubscriptionChange], start: datetime, end: datetime) -> int:
    """Return how many whole seconds between two instants were paused, of pauses that are over."""
    stretches = ((p.since, p.since + p.length) for p in pauses_of(changes))
    overlaps = (min(until, end) - max(since, start) for since, until in stretches)
    return sum(overlap // timedelta(seconds=1) for overlap in overlaps if overlap > timedelta())
