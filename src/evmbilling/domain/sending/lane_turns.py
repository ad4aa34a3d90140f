"""Whose turn it is among the queued transactions of one sender, where refunds need an approval first. Pure.

An allowance belongs to a spender, and the next approval replaces it. So an approval is mined before its refund is sent,
and the approval of the next refund waits until that one is mined, or over. What was allowed to a refund that takes
nothing any more is taken back, and some tokens want that before anything else is allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from attrs import frozen

from evmbilling.domain.sending.transmissions import OPEN_TRANSMISSIONS, Transmission, TransmissionStatus

APPROVAL_FAILED: Final = "approval_failed"
AWAITS_APPROVAL: Final = "awaits_approval"
AWAITS_REFUND: Final = "awaits_refund"
AWAITS_RESET: Final = "awaits_reset"
_T = TransmissionStatus
_MINED: Final = frozenset({_T.MINED, _T.DONE})
_ENDED: Final = frozenset({_T.FAILED, _T.CANCELLED})
_PREFIX: Final = "approval:"
_RESET: Final = "reset:"
_WORD: Final = 32


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


def reset_subject(approval: str) -> str:
    """Return what taking an approval back is for, from the approval's own subject."""
    return _RESET + approval


def is_reset(sent: Transmission) -> bool:
    """Whether a transmission takes an allowance back."""
    return sent.purpose == "refund" and sent.subject.startswith(_RESET)


def reset_of(approval: Transmission, before: Sequence[Transmission], *, new_id: str, now: datetime) -> Transmission:
    """Return a transmission that allows the same spender nothing (ERC-20: the last word of ``approve`` is the amount).

    Args:
        approval: what is taken back. before: what was made to take it back until now.
        new_id, now: of the transmission.

    """
    return Transmission(
        transmission_id=new_id,
        purpose="refund",
        subject=reset_subject(approval.subject),
        attempt=len(before) + 1,
        network=approval.network,
        chain_id=approval.chain_id,
        signer=approval.signer,
        sender=approval.sender,
        to=approval.to,
        data=approval.data[:-_WORD] + bytes(_WORD),
        gas=approval.gas,
        gas_ceiling=approval.gas_ceiling,
        not_after=now + (approval.not_after - approval.created_at),
        next_at=now,
        waiting_since=now,
        created_at=now,
    )


def leaves_allowance(refund: Transmission, approval: Transmission | None) -> bool:
    """Whether a refund that takes nothing any more leaves what was allowed to it: its approval is mined, or may be."""
    over = refund.purpose == "refund" and refund.status in _ENDED
    return over and approval is not None and approval.nonce is not None and approval.status not in _ENDED


def refund_turn(approval: Transmission | None) -> Turn:
    """Return whether a queued refund goes: when the approval before it is mined, or where there is none."""
    if approval is None or approval.status in _MINED:
        return GO
    if approval.status in OPEN_TRANSMISSIONS:
        return Turn("wait", AWAITS_APPROVAL)
    return Turn("end", APPROVAL_FAILED)


def approval_turn(
    one: Transmission, own: Transmission | None, lane: Collection[Transmission], approvals: Mapping[str, Transmission]
) -> Turn:
    """Return whether a queued approval goes.

    Args:
        one: the approval. own: the refund that it is before.
        lane: what of its sender is open. approvals: of any refund in there, by :func:`approval_subject`.

    """
    if own is None or own.withdrawn or own.status not in OPEN_TRANSMISSIONS:
        return Turn("end", "withdrawn")
    if any(is_reset(other) and other.to == one.to and other.status not in _MINED for other in lane):
        return Turn("wait", AWAITS_RESET)
    return reset_turn(one, lane, approvals)


def reset_turn(one: Transmission, lane: Iterable[Transmission], approvals: Mapping[str, Transmission]) -> Turn:
    """Return whether an allowance of a token is replaced now: not while a refund is about to take it.

    Args:
        one: what replaces it. lane, approvals: as for :func:`approval_turn`.

    """
    for refund in lane:
        other = approvals.get(approval_subject(refund.subject, refund.attempt))
        is_allowed = other is not None and other.to == one.to and other.nonce is not None
        if is_allowed and refund.status not in {_T.MINED, _T.REVERTED}:
            return Turn("wait", AWAITS_REFUND)
    return GO
