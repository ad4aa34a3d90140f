"""Whose turn it is in a sender's lane, as the storage knows it."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.lane_turns import (
    GO,
    Turn,
    approval_subject,
    approval_turn,
    is_approval,
    refund_subject,
    refund_turn,
)
from evmbilling.domain.transmissions import Transmission
from evmbilling.ports.storage import Unit


def turn_of(unit: Unit, one: Transmission, most: int) -> Turn:
    """Return whether a queued transmission may go now; only refunds with an approval before them ever wait.

    Args:
        most: how many open transmissions of the sender are looked at; they come in the order in which they are sent.

    """
    if one.purpose != "refund":
        return GO
    if not is_approval(one):
        return refund_turn(_approval_of(unit, one))
    subject, attempt = refund_subject(one.subject)
    own = next((sent for sent in unit.transmissions_of("refund", subject) if sent.attempt == attempt), None)
    lane = unit.lane(one.chain_id, one.sender, most)
    refunds = [other for other in lane if other.purpose == "refund" and not is_approval(other)]
    before = {approval_subject(refund.subject, refund.attempt): _approval_of(unit, refund) for refund in refunds}
    return approval_turn(one, own, refunds, {subject: sent for subject, sent in before.items() if sent is not None})


def _approval_of(unit: Unit, refund: Transmission) -> Transmission | None:
    """Return the approval before an attempt at a refund; None where it needs none."""
    found: Sequence[Transmission] = unit.transmissions_of("refund", approval_subject(refund.subject, refund.attempt))
    return found[-1] if found else None
