"""Trials: who gets one is for the host to say, and what was said is audited."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.subscriptions.subscriptions import Subscription

TrialRule = Callable[[SubscriptionPlan, str, str], bool]
"""A host's callable: (plan, user_id, wallet) -> whether the plan's trial is given. Pure and quick.

The wallet is the zero address for a checkout without one, as deposit addresses have it.
Whoever can make users and wallets can ask for as many trials as they like; only the host knows better. Anything but
True is a refusal, an exception too: the user may buy, and pays from the first day on.
"""


def trial_audit(live: Subscription, now: datetime, audit_id: str) -> AuditEntry:
    """Return the audit entry that says whether a subscription began with a trial, and whose it is."""
    return AuditEntry(
        audit_id=audit_id,
        actor="system",
        action="trial.give" if live.trial_end is not None else "trial.refuse",
        object=f"subscription:{live.subscription_id}",
        changes={"user_id": live.user_id, "plan": live.plan_slug, "product": str(live.product)},
        recorded_at=now,
    )
