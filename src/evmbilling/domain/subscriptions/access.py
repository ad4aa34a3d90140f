"""Access: may this user use this now, until when, and why not (row F8)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

from attrs import field, frozen

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.identity import Product
from evmbilling.domain.pairs import Pairs, pairs
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS, SubscriptionStatus
from evmbilling.domain.subscriptions.looking import grace_end
from evmbilling.domain.subscriptions.subscriptions import Subscription

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
AccessReason = Literal[
    "paid", "trial", "grace", "no_plan", "not_started", "unpaid", "expired", "paused", "suspended", "ended", "disputed"
]


@frozen(kw_only=True)
class Entitlement:
    """What one subscription or purchase gives a user: the stored answer from which access is read.

    It holds boundaries, not a verdict, so that time passes without a write. Unique by (user, product, source).

    Attributes:
        source_id: the subscription's id, or the order's for a plan without an interval.
        basis: ``paid``, ``trial``, or the reason why nothing is given.
        starts_at: half-open ``[starts_at, until)``; ``until`` None means for good.
        grace_until: access, but nothing else, stays open until here.
        disputed: a credit behind it is disputed and the network's policy closes access.
        told: the plan that its user was last said to be entitled to; a change of it is told once.

    """

    user_id: str
    product: Product
    source_id: str
    subscription_id: str | None
    plan_slug: str
    plan_version: int
    basis: AccessReason
    starts_at: datetime | None = None
    until: datetime | None = None
    grace_until: datetime | None = None
    limits: Pairs = field(default=(), converter=pairs)
    features: tuple[str, ...] = ()
    disputed: bool = False
    told: str | None = None


@frozen(kw_only=True)
class Access:
    """The answer to the question that every host asks.

    Attributes:
        allowed: open the door or not; the only thing that has to be looked at.
        reason: what decides it.
        until: end of what is paid or on trial; the instant itself is outside. None for no end, or no beginning.
        grace_until: until when access stays open though nothing is paid; None for no such days.
        subscription_id: of what gives or refuses it; None for a thing that was sold once, and for nothing at all.
        plan_slug: its plan.
        limits: how much of what may be used in a period, by name.

    """

    allowed: bool
    reason: AccessReason
    until: datetime | None = None
    grace_until: datetime | None = None
    subscription_id: str | None = None
    plan_slug: str | None = None
    limits: Pairs = ()


def entitle_subscription(subscription: Subscription, plan: SubscriptionPlan, *, disputed: bool = False) -> Entitlement:
    """Return what a subscription gives, from its standing and its pinned plan version."""
    closed: dict[SubscriptionStatus, AccessReason] = {
        SubscriptionStatus.PAUSED: "paused",
        SubscriptionStatus.SUSPENDED: "suspended",
        SubscriptionStatus.ENDED: "ended",
        SubscriptionStatus.INCOMPLETE_EXPIRED: "unpaid",
    }
    basis: AccessReason = closed.get(subscription.status, "unpaid")
    starts_at, until, grace_until = None, None, None
    blocked = plan.dunning.has(subscription.dunning_state, "block")
    if subscription.status not in closed and not blocked:
        starts_at, until = subscription.anchor, subscription.paid_until
        if until is not None:
            basis = "paid"
            grace_until = grace_end(subscription, plan.dunning)
        if subscription.trial_end is not None:
            basis = basis if until is not None else "trial"
            starts_at = subscription.start_at or subscription.created_at
            until = until or subscription.trial_end
    return Entitlement(
        user_id=subscription.user_id,
        product=subscription.product,
        source_id=subscription.subscription_id,
        subscription_id=subscription.subscription_id,
        plan_slug=plan.slug,
        plan_version=plan.version,
        basis=basis,
        starts_at=starts_at,
        until=until,
        grace_until=grace_until,
        limits=tuple((name, limit * subscription.quantity) for name, limit in plan.limits),
        features=plan.features,
        disputed=disputed,
    )


def entitle_purchase(
    order: Order, plan: SubscriptionPlan, *, disputed: bool = False, paid_at: datetime | None = None
) -> Entitlement:
    """Return what an order of a plan without an interval gives: everything while it is paid, from ``paid_at`` on.

    Without it the block time of the payment is taken, which may lie ahead of our clock.
    """
    moment = order.completion.confirmed_at if order.completion else order.manual.at if order.manual else None
    paid = order.status in PAID_ORDERS and moment is not None
    return Entitlement(
        user_id=order.user_id,
        product=order.product,
        source_id=order.ledger_id,
        subscription_id=None,
        plan_slug=plan.slug,
        plan_version=plan.version,
        basis="paid" if paid else "unpaid",
        starts_at=(paid_at or moment) if paid else None,
        limits=tuple((name, limit * order.quantity) for name, limit in plan.limits),
        features=plan.features,
        disputed=disputed,
    )


def judge(entitlement: Entitlement, now: datetime) -> Access:
    """Say whether one entitlement lets its user in at ``now``. Fails closed."""
    reason: AccessReason = entitlement.basis
    allowed = False
    if reason in {"paid", "trial"}:
        if entitlement.starts_at is None or now < entitlement.starts_at:
            reason = "not_started"
        elif entitlement.until is None or now < entitlement.until:
            allowed = True
        elif entitlement.grace_until is not None and now < entitlement.grace_until:
            allowed, reason = True, "grace"
        else:
            reason = "expired"
    if entitlement.disputed:
        allowed, reason = False, "disputed"
    return Access(
        allowed=allowed,
        reason=reason,
        until=entitlement.until,
        grace_until=entitlement.grace_until,
        subscription_id=entitlement.subscription_id,
        plan_slug=entitlement.plan_slug,
        limits=entitlement.limits if allowed else (),
    )


def access(
    entitlements: Iterable[Entitlement],
    now: datetime,
    *,
    product: Product | None = None,
    feature: str | None = None,
) -> Access:
    """Fold a user's entitlements into one answer: the best that lets in, else the one that would last longest."""
    wanted = [
        judge(e, now)
        for e in entitlements
        if (product is None or e.product == product) and (feature is None or feature in e.features)
    ]
    return max(wanted, key=_rank, default=Access(allowed=False, reason="no_plan"))


def entitled_plan(entitlement: Entitlement | None, now: datetime) -> str | None:
    """Return the plan that the user is entitled to: now, or from its start on when it begins later."""
    if entitlement is None:
        return None
    verdict = judge(entitlement, now)
    return entitlement.plan_slug if verdict.allowed or verdict.reason == "not_started" else None


def _rank(verdict: Access) -> tuple[bool, bool, datetime]:
    for_good = verdict.until is None and verdict.allowed
    return (verdict.allowed, for_good, verdict.until or _LONG_AGO)
