"""Quota: what a plan's limits leave, counted within the paid period."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from evmbilling.domain.access import Entitlement, judge
from evmbilling.domain.subscriptions import Subscription
from evmbilling.domain.usage import Window


def granting(entitlements: Iterable[Entitlement], limit: str, now: datetime) -> list[Entitlement]:
    """Return the entitlements whose limit counts now, in the order in which they are used up.

    What each of them gives is used by itself: who holds two products with a limit of one name, or bought a thing twice,
    has both. What ends first goes first; what is for good goes last, the oldest first.
    """
    open_now = [e for e in entitlements if limit in dict(e.limits) and judge(e, now).allowed]
    return sorted(open_now, key=lambda e: (e.until is None, e.until or now, e.source_id))


def window_of(entitlement: Entitlement, limit: str, subscription: Subscription | None, now: datetime) -> Window:
    """Return the window in which a use counts: it begins with the period, and a new period is a new window."""
    starts_at = entitlement.starts_at or now
    table = subscription.table if subscription is not None else None
    if subscription is not None and table is not None and table.start(0) <= now:
        starts_at = table.start(min(table.index_at(now), subscription.paid_periods))
    return Window(
        user_id=entitlement.user_id,
        limit=limit,
        source_id=entitlement.source_id,
        starts_at=starts_at,
        allowed=dict(entitlement.limits)[limit],
    )
