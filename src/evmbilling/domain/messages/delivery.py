"""The rules of deliveries: when a failed one is tried again, when it is dead, what a person is spared."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import attrs
from attrs import field, frozen

from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.messages.messages import Delivery

SCHEDULE = tuple(timedelta(seconds=seconds) for seconds in (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400))
"""The pause before each attempt, the first one at once (Standard Webhooks 1.0, "deliverability and reliability")."""
JITTER_PERCENT = 20
"""A pause is longer by up to this part of it, so that what failed together does not come back together."""
CHANCE = 1 << 20
"""Jitter is a whole number from 0 up to this one."""
LONGEST_WAIT = timedelta(days=1)
"""The most that a receiver's Retry-After is honoured."""
RESTORED = "not told: restored in time"
QUIET = timedelta(minutes=5)

Outcome = Literal["done", "failed", "gone", "impossible", "not_begun"]


@frozen(kw_only=True)
class SinkProfile:
    """How a sink wants its deliveries.

    Attributes:
        events: names that it takes; empty for all.
        ordered: a failed delivery holds back the next ones of its aggregate.
        quiet: how long people are spared the news of a reversal, which often is undone by the next blocks; None for
            systems, which are told at once.
        limit: how long one delivery may take.

    """

    events: frozenset[str] = frozenset()
    ordered: bool = False
    quiet: timedelta | None = None
    limit: timedelta = timedelta(seconds=15)

    def takes(self, type_: str) -> bool:
        """Whether events of a type are delivered here."""
        return not self.events or type_ in self.events


@frozen(kw_only=True)
class Attempt:
    """What came of one attempt.

    Attributes:
        outcome: ``gone``: the receiver never wants anything again; ``impossible``: no later attempt can succeed;
            ``not_begun``: it was not this delivery's turn any more.
        status_code: of HTTP, where there is one.
        error: a short word for people; never a secret, an address or a body.
        retry_after: what the receiver asked for.

    """

    outcome: Outcome
    status_code: int | None = None
    error: str | None = None
    retry_after: timedelta | None = field(default=None)


def first_delivery(event: Event, sink: str, profile: SinkProfile, now: datetime) -> Delivery:
    """Return the delivery of an event to a sink, due at once; a reversal waits where people are told."""
    waits = profile.quiet if profile.quiet and event.type is EventType.PAYMENT_REVERSED else timedelta()
    return Delivery(event_id=event.event_id, sink=sink, aggregate=event.aggregate, seq=event.seq, next_at=now + waits)


def claimed(delivery: Delivery, until: datetime) -> Delivery:
    """Return the delivery as it is in the hands of a dispatcher, until another may take it.

    It counts as untried until the outcome is stored, so the next one of its aggregate keeps its place behind it.
    """
    return attrs.evolve(delivery, next_at=until, version=delivery.version + 1)


def settled(delivery: Delivery, attempt: Attempt, now: datetime, jitter: int) -> Delivery:
    """Return a delivery after an attempt.

    Args:
        delivery: as it was claimed.
        attempt: what came of it.
        now: the database's clock.
        jitter: at least 0 and below ``CHANCE``.

    """
    if attempt.outcome == "not_begun":
        later = now + capped(attempt.retry_after)
        return attrs.evolve(delivery, next_at=later, version=delivery.version + 1)
    tried = attrs.evolve(
        delivery,
        attempts=delivery.attempts + 1,
        status_code=attempt.status_code,
        error=attempt.error,
        version=delivery.version + 1,
    )
    if attempt.outcome == "done":
        return attrs.evolve(tried, state="done", done_at=now, next_at=now)
    if attempt.outcome in ("gone", "impossible") or tried.attempts >= len(SCHEDULE):
        return attrs.evolve(tried, state="dead", next_at=now)
    return attrs.evolve(tried, next_at=now + pause_after(tried.attempts, jitter, attempt.retry_after))


def pause_after(attempts: int, jitter: int, retry_after: timedelta | None = None) -> timedelta:
    """Return how long to wait after so many attempts: the schedule, or longer where the receiver asked for it."""
    scheduled = SCHEDULE[attempts]
    longer = scheduled * JITTER_PERCENT * jitter // (100 * CHANCE)
    return max(scheduled + longer, capped(retry_after))


def capped(retry_after: timedelta | None) -> timedelta:
    """Return what a receiver asked for, within the cap."""
    return min(max(retry_after or timedelta(), timedelta()), LONGEST_WAIT)


def replayed(delivery: Delivery, now: datetime) -> Delivery:
    """Return a delivery that is tried once more because a person wants it; one that failed for good fails for good."""
    return attrs.evolve(delivery, state="waiting", next_at=now, done_at=None, version=delivery.version + 1)
