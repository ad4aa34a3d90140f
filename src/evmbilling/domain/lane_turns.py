"""Whose turn it is among the queued transactions of one sender, where refunds need an approval first. Pure.

An allowance belongs to a spender, and the next approval replaces it. So an approval is mined before its refund is sent,
and the approval of the next refund waits until that one is mined, or over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from attrs import frozen

from evmbilling.domain.transmissions import OPEN_TRANSMISSIONS, Transmission, TransmissionStatus

APPROVAL_FAILED: Final = "approval_failed"
AWAITS_APPROVAL: Final = "awaits_approval"
AWAITS_REFUND: Final = "awaits_refund"
_T = TransmissionStatus
_MINED: Final = frozenset({_T.MINED, _T.DONE})
_PREFIX: Final = "approval:"


@frozen
class Turn:
    """What becomes of a queued transaction now; ``reason`` says why it does not go."""

    step: Literal["go", "wait", "end"]
    reason: str = ""


GO: Final = Turn("go")


def approval_subject(subject: str, attempt: int) -> str:
    """Return what the approval before an attempt at a refund is for, from the refund's own subject."""
    return f"{_PREFIX}{subject}:{attempt}"


def refund_subject(approval: str) -> tuple[str, int]:
    """Return the refund's own subject and the attempt that an approval is before; undoes :func:`approval_subject`."""
    subject, _, attempt = approval.removeprefix(_PREFIX).rpartition(":")
    return subject, int(attempt)


def is_approval(sent: Transmission) -> bool:
    """Whether a transmission allows something for a refund, and is none itself."""
    return sent.purpose == "refund" and sent.subject.startswith(_PREFIX)


def refund_turn(approval: Transmission | None) -> Turn:
    """Return whether a queued refund goes: when the approval before it is mined, or where there is none."""
    if approval is None or approval.status in _MINED:
        return GO
    if approval.status in OPEN_TRANSMISSIONS:
        return Turn("wait", AWAITS_APPROVAL)
    return Turn("end", APPROVAL_FAILED)


def approval_turn(
    one: Transmission, own: Transmission | None, refunds: Iterable[Transmission], approvals: Mapping[str, Transmission]
) -> Turn:
    """Return whether a queued approval goes.

    Args:
        one: the approval. own: the refund that it is before.
        refunds: open refunds of its sender. approvals: of any of them, by :func:`approval_subject`.

    """
    if own is None or own.withdrawn or own.status not in OPEN_TRANSMISSIONS:
        return Turn("end", "withdrawn")
    for refund in refunds:
        other = approvals.get(approval_subject(refund.subject, refund.attempt))
        is_allowed = other is not None and other.to == one.to and other.nonce is not None
        if is_allowed and refund.status not in {_T.MINED, _T.REVERTED}:
            return Turn("wait", AWAITS_REFUND)
    return GO
