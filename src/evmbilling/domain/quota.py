"""Quota: what a plan's limits leave, counted within the paid period."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from evmbilling.domain.access import Entitlement, judge
from evmbilling.domain.calendar import boundary
from evmbilling.domain.subscriptions import Subscription
from evmbilling.domain.usage import Window


def granting(entitlements: Iterable[Entitlement], limit: str, now: datetime) -> Entitlement | None:
    """Return the entitlement whose limit counts now: of those that let in, the most generous; None when none does."""
    open_now = [e for e in entitlements if limit in dict(e.limits) and judge(e, now).allowed]
    return max(open_now, key=lambda e: (dict(e.limits)[limit], e.source_id), default=None)


def window_of(entitlement: Entitlement, limit: str, subscription: Subscription | None, now: datetime) -> Window:
    """Return the window in which a use counts: it begins with the period, and a new period is a new window."""
    starts_at = entitlement.starts_at or now
    if subscription is not None and subscription.anchor is not None and subscription.anchor <= now:
        starts_at = period_start(subscription, subscription.anchor, now)
    return Window(
        user_id=entitlement.user_id,
        limit=limit,
        source_id=entitlement.source_id,
        starts_at=starts_at,
        allowed=dict(entitlement.limits)[limit],
    )


def period_start(subscription: Subscription, anchor: datetime, now: datetime) -> datetime:
    """Return where the period that holds ``now`` began. During grace it is the last paid period's end."""
    low, high = 0, subscription.paid_periods
    while low < high:
        middle = (low + high + 1) // 2
        if boundary(anchor, subscription.interval, subscription.zone, middle) <= now:
            low = middle
        else:
            high = middle - 1
    return boundary(anchor, subscription.interval, subscription.zone, low)
