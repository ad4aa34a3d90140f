"""State tables: which moves are legal. The tables are the specification; an illegal move is a typed error."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from evmbilling.errors import IllegalTransition


class OrderStatus(StrEnum):
    """Where an order stands."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    PARTIALLY_PAID = "partially_paid"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    FINAL = "final"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REVERSED = "reversed"


class SubscriptionStatus(StrEnum):
    """Where a subscription stands."""

    SCHEDULED = "scheduled"
    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    SUSPENDED = "suspended"
    PAUSED = "paused"
    ENDED = "ended"
    INCOMPLETE_EXPIRED = "incomplete_expired"


class RefundStatus(StrEnum):
    """Where a refund stands."""

    REQUESTED = "requested"
    APPROVED = "approved"
    PREPARED = "prepared"
    SUBMITTED = "submitted"
    CONFIRMING = "confirming"
    DONE = "done"
    UNKNOWN = "unknown"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ReceiptStatus(StrEnum):
    """Where a movement on chain stands with us."""

    SEEN = "seen"
    """In a canonical block, not deep enough to give access."""
    CREDITED = "credited"
    FINAL = "final"
    GONE = "gone"
    """Orphaned before it was credited."""
    REVERSED = "reversed"
    """Orphaned after it was credited."""
    DISPUTED = "disputed"
    """Touched by a reorg below the irreversible height; a person decides."""


_O = OrderStatus
# A payment that disappears gives an order back what it was: the reason for which it was closed, or its own charge that
# is still on its way. A renewal that was withdrawn is offered again when nothing stands in for it any more. Money may
# come by any way, whatever our own charge came to; and what our charge took may be the customer's credit.
ORDER_MOVES: Mapping[OrderStatus, frozenset[OrderStatus]] = {
    _O.PENDING: frozenset(
        {
            _O.CONFIRMING,
            _O.PARTIALLY_PAID,
            _O.EXPIRED,
            _O.CANCELLED,
            _O.SUPERSEDED,
            _O.FAILED,
            _O.SUBMITTED,
        }
    ),
    _O.PARTIALLY_PAID: frozenset(
        {_O.PENDING, _O.CONFIRMING, _O.CONFIRMED, _O.EXPIRED, _O.CANCELLED, _O.SUPERSEDED, _O.FAILED, _O.SUBMITTED}
    ),
    _O.CONFIRMING: frozenset(
        {
            _O.CONFIRMED,
            _O.PARTIALLY_PAID,
            _O.PENDING,
            _O.EXPIRED,
            _O.SUPERSEDED,
            _O.CANCELLED,
            _O.SUBMITTED,
            _O.UNKNOWN,
            _O.FAILED,
        }
    ),
    _O.CONFIRMED: frozenset({_O.FINAL, _O.REVERSED}),
    _O.FINAL: frozenset({_O.REVERSED}),
    _O.REVERSED: frozenset({_O.CONFIRMING, _O.EXPIRED}),
    _O.EXPIRED: frozenset({_O.CONFIRMING}),
    _O.CANCELLED: frozenset({_O.CONFIRMING, _O.PENDING, _O.PARTIALLY_PAID}),
    _O.SUPERSEDED: frozenset({_O.CONFIRMING, _O.PENDING, _O.PARTIALLY_PAID}),
    _O.SUBMITTED: frozenset({_O.CONFIRMING, _O.FAILED, _O.UNKNOWN, _O.CANCELLED, _O.SUPERSEDED}),
    _O.UNKNOWN: frozenset({_O.CONFIRMING, _O.FAILED, _O.CANCELLED, _O.SUPERSEDED}),
    _O.FAILED: frozenset({_O.PENDING, _O.CONFIRMING, _O.PARTIALLY_PAID, _O.CANCELLED, _O.SUPERSEDED}),
}

_S = SubscriptionStatus
SUBSCRIPTION_MOVES: Mapping[SubscriptionStatus, frozenset[SubscriptionStatus]] = {
    _S.SCHEDULED: frozenset({_S.INCOMPLETE, _S.TRIALING, _S.ACTIVE}),
    _S.INCOMPLETE: frozenset({_S.TRIALING, _S.ACTIVE, _S.INCOMPLETE_EXPIRED}),
    _S.TRIALING: frozenset({_S.ACTIVE, _S.PAST_DUE, _S.PAUSED, _S.ENDED}),
    _S.ACTIVE: frozenset({_S.PAST_DUE, _S.PAUSED, _S.ENDED, _S.INCOMPLETE}),
    _S.PAST_DUE: frozenset({_S.ACTIVE, _S.SUSPENDED, _S.PAUSED, _S.ENDED}),
    _S.SUSPENDED: frozenset({_S.ACTIVE, _S.ENDED}),
    _S.PAUSED: frozenset({_S.ACTIVE, _S.ENDED}),
    _S.ENDED: frozenset(),
    _S.INCOMPLETE_EXPIRED: frozenset(),
}

_R = RefundStatus
REFUND_MOVES: Mapping[RefundStatus, frozenset[RefundStatus]] = {
    _R.REQUESTED: frozenset({_R.APPROVED, _R.CANCELLED, _R.FAILED, _R.UNKNOWN}),
    _R.APPROVED: frozenset({_R.PREPARED, _R.CANCELLED, _R.FAILED, _R.UNKNOWN}),
    _R.PREPARED: frozenset({_R.SUBMITTED, _R.CANCELLED, _R.FAILED, _R.UNKNOWN}),
    _R.SUBMITTED: frozenset({_R.CONFIRMING, _R.FAILED, _R.UNKNOWN}),
    _R.CONFIRMING: frozenset({_R.DONE, _R.FAILED, _R.UNKNOWN}),
    _R.DONE: frozenset({_R.CONFIRMING}),
    _R.UNKNOWN: frozenset({_R.CONFIRMING, _R.FAILED}),
    # One that was handed out can be sent although it was given up; what left is accounted for.
    _R.FAILED: frozenset({_R.CONFIRMING}),
    _R.CANCELLED: frozenset({_R.CONFIRMING}),
}

_T = ReceiptStatus
RECEIPT_MOVES: Mapping[ReceiptStatus, frozenset[ReceiptStatus]] = {
    _T.SEEN: frozenset({_T.CREDITED, _T.GONE}),
    _T.CREDITED: frozenset({_T.FINAL, _T.REVERSED, _T.DISPUTED}),
    _T.FINAL: frozenset({_T.DISPUTED}),
    _T.GONE: frozenset({_T.SEEN}),
    _T.REVERSED: frozenset({_T.SEEN}),
    _T.DISPUTED: frozenset({_T.CREDITED, _T.FINAL, _T.REVERSED}),
}

OPEN_ORDERS = frozenset({_O.PENDING, _O.PARTIALLY_PAID})
"""Still offered: a wallet may pay it."""
PAYABLE_ORDERS = OPEN_ORDERS | {_O.REVERSED}
"""What arrives pays it: it is offered, or the chain took its payment back."""
PAID_ORDERS = frozenset({_O.CONFIRMED, _O.FINAL})
IN_FLIGHT_ORDERS = frozenset({_O.CONFIRMING, _O.SUBMITTED, _O.UNKNOWN})
"""Money for it may be on its way: nothing is done about it until that is settled."""
OWING_SUBSCRIPTIONS = frozenset({_S.PAST_DUE, _S.SUSPENDED})
OVER_SUBSCRIPTIONS = frozenset({_S.ENDED, _S.INCOMPLETE_EXPIRED})
LIVE_SUBSCRIPTIONS = frozenset(SubscriptionStatus) - OVER_SUBSCRIPTIONS
SUPPORTING_RECEIPTS = frozenset({_T.CREDITED, _T.FINAL, _T.DISPUTED})
"""Receipts whose money counts."""

_Status = TypeVar("_Status", bound=StrEnum)


def check_move(table: Mapping[_Status, frozenset[_Status]], before: _Status, after: _Status) -> _Status:
    """Return ``after`` if the table has the move in one step (staying is always allowed).

    Raises:
        IllegalTransition: the table has no such move.

    """
    if before != after and after not in table[before]:
        raise IllegalTransition(
            f"{type(before).__name__} cannot move from {before} to {after}",
            field="status",
            before=str(before),
            after=str(after),
        )
    return after


def check_reachable(table: Mapping[_Status, frozenset[_Status]], before: _Status, after: _Status) -> _Status:
    """Return ``after`` if the table leads there in any number of steps: time passed and nobody looked in between.

    Raises:
        IllegalTransition: no path, for example out of a terminal state.

    """
    reached, edge = {before}, {before}
    while edge:
        edge = {step for state in edge for step in table[state]} - reached
        reached |= edge
    if after not in reached:
        check_move(table, before, after)
    return after
