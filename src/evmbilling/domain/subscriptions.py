"""Subscriptions: a pinned plan version on the customer's calendar (row E5)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen

from evmbilling.domain.calendar import Interval
from evmbilling.domain.identity import Product
from evmbilling.domain.states import SubscriptionStatus

ChangeKind = Literal["cancel_at_period_end", "undo_cancel", "end", "pause", "resume", "suspend", "unsuspend", "expire"]
"""``expire`` closes a subscription that was never paid, once no payment for it can appear any more."""


@frozen(kw_only=True)
class SubscriptionChange:
    """Something that somebody decided about a subscription; append-only, ordered by ``seq``."""

    subscription_id: str
    seq: int
    kind: ChangeKind
    effective_at: datetime
    recorded_at: datetime
    by: str


@frozen(kw_only=True)
class Subscription:
    """A user's hold on a product; at most one live per (user, product).

    The facts are pinned at the start; the rest is the projection of :func:`evmbilling.domain.standing.standing`,
    stored in the same transaction as the fact that moved it.

    Attributes:
        zone: IANA zone, fixed at the start.
        start_at: deferred start chosen by the user; None means with the first payment.
        trial_end: end of the trial, fixed at the start.
        anchor: where period 0 begins; None until the first order is paid.
        paid_periods: how many periods from the anchor on are paid without a gap.
        paid_until: end of the last paid period; None when there is none.
        next_charge_at: when the next period must be paid.
        debt: base units due and unpaid now.

    """

    subscription_id: str
    user_id: str
    product: Product
    plan_slug: str
    plan_version: int
    interval: Interval
    quantity: int
    zone: str
    created_at: datetime
    start_at: datetime | None = None
    trial_end: datetime | None = None
    status: SubscriptionStatus
    anchor: datetime | None = None
    paid_periods: int = 0
    paid_until: datetime | None = None
    next_charge_at: datetime | None = None
    cancel_at_period_end: bool = False
    debt: int = 0
    version: int = 1
