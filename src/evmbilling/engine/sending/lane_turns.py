"""Whose turn it is in a sender's lane, as the storage knows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from evmbilling.domain.sending.lane_turns import (
    GO,
    Turn,
    approval_subject,
    approval_turn,
    is_approval,
    is_reset,
    leaves_allowance,
    refund_subject,
    refund_turn,
    reset_of,
    reset_subject,
    reset_turn,
)
from evmbilling.domain.sending.transmissions import OPEN_TRANSMISSIONS, Transmission
from evmbilling.ports.storage import Unit


def turn_of(unit: Unit, one: Transmission, most: int) -> Turn:
    """Return whether a queued transmission may go now; only refunds with an approval before them ever wait.

    Args:
        most: how many open transmissions of the sender are looked at; they come in the order in which they are sent.

    """
    if one.purpose != "refund":
        return GO
    if not is_approval(one) and not is_reset(one):
        return refund_turn(approval_of(unit, one))
    lane = unit.lane(one.chain_id, one.sender, most)
    refunds = [other for other in lane if other.purpose == "refund" and not is_approval(other) and not is_reset(other)]
    before = {approval_subject(refund.subject, refund.attempt): approval_of(unit, refund) for refund in refunds}
    approvals = {subject: sent for subject, sent in before.items() if sent is not None}
    if is_reset(one):
        return reset_turn(one, lane, approvals)
    subject, attempt = refund_subject(one.subject)
    own = next((sent for sent in unit.transmissions_of("refund", subject) if sent.attempt == attempt), None)
    return approval_turn(one, own, lane, approvals)


def reset_before(unit: Unit, one: Transmission, *, new_id: str, now: datetime) -> Transmission | None:
    """Return what is sent before an approval that its token refuses; None where that was tried, or it is none.

    Some tokens allow something only to whom they allow nothing: an allowance that stands is taken back first.
    """
    if not is_approval(one) or unit.transmissions_of("refund", reset_subject(one.subject)):
        return None
    return reset_of(one, (), new_id=new_id, now=now)


def reset_after(unit: Unit, one: Transmission, *, new_id: str, now: datetime) -> Transmission | None:
    """Return what takes back an allowance whose refund takes nothing any more; None where there is none."""
    approval = approval_of(unit, one)
    if approval is None or not leaves_allowance(one, approval):
        return None
    before = unit.transmissions_of("refund", reset_subject(approval.subject))
    open_one = any(sent.status in OPEN_TRANSMISSIONS for sent in before)
    return None if open_one else reset_of(approval, before, new_id=new_id, now=now)


def approval_of(unit: Unit, refund: Transmission) -> Transmission | None:
    """Return the approval before an attempt at a refund; None where it needs none."""
    found: Sequence[Transmission] = unit.transmissions_of("refund", approval_subject(refund.subject, refund.attempt))
    return found[-1] if found else None
