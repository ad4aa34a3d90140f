"""Quota: what a plan's limits leave, counted within the paid period."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from evmbilling.domain.people.usage import Window
from evmbilling.domain.subscriptions.access import Entitlement, judge
from evmbilling.domain.subscriptions.subscriptions import Subscription


def granting(entitlements: Iterable[Entitlement], limit: str, now: datetime) -> list[Entitlement]:
    """Return the entitlements whose limit counts now, in the order in which they are used up.

    What each of them gives is used by itself: who holds two products with a limit of one name, or bought a thing twice,
    has both. What ends first goes first; what is for good goes last, the oldest first.
    """
    open_now = [e for e in entitlements if limit in dict(e.limits) and judge(e, now).allowed]
    return sorted(open_now, key=lambda e: (e.until is None, e.until or now, e.source_id))


def window_of(
    entitlement: Entitlement, limit: str, subscription: Subscription | None, *, asked: datetime, now: datetime
) -> Window:
    """Return the window in which a use counts: it begins with the period, and a new period is a new window.

    It is named by when its subscription or order was made, and not by the block of a payment: one that is mined again
    in another block gives nothing anew.

    Args:
        entitlement: that grants the limit.
        limit: its name.
        subscription: the entitlement's; None for a thing that was sold once.
        asked: when the subscription, or the order of the thing, was made.
        now: the clock.

    """
    starts_at = asked
    table = subscription.table if subscription is not None else None
    if subscription is not None and table is not None and table.start(0) <= now:
        first = subscription.trial_end or subscription.start_at or asked
        starts_at = first + (table.start(min(table.index_at(now), subscription.paid_periods)) - table.start(0))
    return Window(
        user_id=entitlement.user_id,
        limit=limit,
        source_id=entitlement.source_id,
        starts_at=starts_at,
        allowed=dict(entitlement.limits)[limit],
    )
