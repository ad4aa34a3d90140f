"""Events: what others are told. CloudEvents 1.0 names, ``billing.<thing>.<happened>.v<n>``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from attrs import field, frozen

PlanChangeCause = Literal["payment", "reversal", "change", "end", "pause", "admin"]


class EventType(StrEnum):
    """The catalogue of events."""

    ORDER_OPENED = "billing.order.opened.v1"
    ORDER_SUPERSEDED = "billing.order.superseded.v1"
    ORDER_EXPIRED = "billing.order.expired.v1"
    ORDER_CANCELLED = "billing.order.cancelled.v1"
    ORDER_FORGIVEN = "billing.order.forgiven.v1"
    PAYMENT_DUE = "billing.payment.due.v1"
    PAYMENT_FAILED = "billing.payment.failed.v1"
    PAYMENT_SEEN = "billing.payment.seen.v1"
    PAYMENT_CONFIRMED = "billing.payment.confirmed.v1"
    PAYMENT_FINAL = "billing.payment.final.v1"
    PAYMENT_REVERSED = "billing.payment.reversed.v1"
    PAYMENT_UNMATCHED = "billing.payment.unmatched.v1"
    PAYMENT_UNCLAIMED = "billing.payment.unclaimed.v1"
    REFUND_DONE = "billing.refund.done.v1"
    REFUND_REVERSED = "billing.refund.reversed.v1"
    REFUND_NOT_MINED = "billing.refund.not_mined.v1"
    MANDATE_GIVEN = "billing.mandate.given.v1"
    MANDATE_REVOKED = "billing.mandate.revoked.v1"
    MANDATE_CANCELLED = "billing.mandate.cancelled.v1"
    PLAN_CHANGED = "billing.plan.changed.v1"
    SUBSCRIPTION_MOVED = "billing.subscription.moved.v1"
    MEMBERSHIP_ENDED = "billing.membership.ended.v1"
    MEMBERSHIP_BURNED = "billing.membership.burned.v1"
    MEMBERSHIP_BURN_REVERSED = "billing.membership.burn_reversed.v1"
    WEBHOOK_CONFLICTED = "billing.webhook.conflicted.v1"
    SUBSCRIPTION_PAST_DUE = "billing.subscription.past_due.v1"
    SUBSCRIPTION_SUSPENDED = "billing.subscription.suspended.v1"
    SUBSCRIPTION_ENDED = "billing.subscription.ended.v1"
    SUBSCRIPTION_LEAVING = "billing.subscription.cancel_scheduled.v1"
    SUBSCRIPTION_STAYING = "billing.subscription.cancel_undone.v1"
    SUBSCRIPTION_CHANGED = "billing.subscription.changed.v1"
    CHANGE_SCHEDULED = "billing.subscription.change_scheduled.v1"
    CHANGE_WITHDRAWN = "billing.subscription.change_withdrawn.v1"
    SUBSCRIPTION_ADOPTED = "billing.subscription.adopted.v1"
    SCHEDULER_HALTED = "billing.scheduler.halted.v1"
    NETWORK_HALTED = "billing.network.halted.v1"
    NETWORK_RESUMED = "billing.network.resumed.v1"
    ENDPOINT_TESTED = "billing.endpoint.tested.v1"


@frozen(kw_only=True)
class Event:
    """One thing that happened, in the outbox with the effect that caused it.

    Attributes:
        event_id: UUIDv7; receivers deduplicate by it.
        aggregate: what it is about, ``customer:<user_id>``, ``receipt:<id>``, ``refund:<id>``, ``network:<name>``,
            ``endpoint:<id>``, ``webhook:<source>:<id>``, ``transaction:<chain id>:<hash>`` or ``scheduler:<day>``;
            ``seq`` counts within it from 1.
        data: JSON values only; amounts are strings of base units.
        trace: the span that it was published in, as W3C ``traceparent``; None when none was recorded. It says nothing
            about what happened, so it makes no two events different.

    """

    event_id: str
    type: EventType
    aggregate: str
    seq: int
    occurred_at: datetime
    recorded_at: datetime
    data: dict[str, Any] = field(factory=dict)
    trace: str | None = field(default=None, eq=False)


@frozen(kw_only=True)
class AuditEntry:
    """Who did what to which object. No personal data beyond the opaque actor id; secrets as fingerprints.

    Attributes:
        action: verb of the use case, for example ``plan.create``.
        changes: JSON values only.

    """

    audit_id: str
    actor: str
    action: str
    object: str
    changes: dict[str, Any] = field(factory=dict)
    recorded_at: datetime
