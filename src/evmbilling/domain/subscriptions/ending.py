"""How a subscription ends at once, by somebody's decision."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.decisions import Decision
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS
from evmbilling.domain.subscriptions.draft import SubscriptionDraft

REFUNDED = "refunded"


def end_refunded(draft: SubscriptionDraft, *, by: str) -> Sequence[Decision]:
    """End a live subscription with the refund of its membership; nothing is decided for one that is over already.

    Access closes, open offers are withdrawn, debts are given up; what was paid stays as it is.

    Raises:
        IllegalTransition: the stored rows contradict the state tables.

    """
    if draft.before.status not in LIVE_SUBSCRIPTIONS:
        return ()
    draft.end(by=by, reason=REFUNDED)
    return draft.settle("end")
