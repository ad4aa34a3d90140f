"""Receipts and refunds: money that moved on chain, as we account for it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen

from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.money import Asset
from evmbilling.domain.states import ReceiptStatus, RefundStatus

Allocation = Literal["order", "credit", "suspense", "refunded", "written_off"]
EntryKind = Literal["seen", "gone", "credited", "final", "reversed", "disputed"]
BurnStatus = Literal["planned", "ended", "due", "confirming", "done"]


@frozen(kw_only=True)
class Evidence:
    """Where on chain a movement stands now. A reorg changes it for the same movement."""

    block_number: int
    block_hash: bytes
    block_time: datetime
    log_index: int


@frozen(kw_only=True)
class Receipt:
    """One movement of money to a treasury (``payment_receipts``), unique by its credit identity.

    Attributes:
        ledger_id: the order it was paid for; None when no order can be named.
        allocation: ``order`` counts toward the order, ``credit`` is the customer's, ``suspense`` waits for a person.
        reason: stable code of why it does not count for an order, or why it does although it does not fit.
        payer: the paying address.
        amount: base units received.
        first_seen_at: when we first learned of it; survives reorgs.
        entries: number of journal entries written so far.

    """

    receipt_id: str
    identity: CreditIdentity
    ledger_id: str | None
    user_id: str | None
    allocation: Allocation
    reason: str | None = None
    asset: Asset
    amount: int
    payer: str
    treasury: str
    evidence: Evidence
    status: ReceiptStatus
    first_seen_at: datetime
    entries: int = 0
    version: int = 1


@frozen(kw_only=True)
class ReceiptEntry:
    """One line of a receipt's journal: append-only, unique by (receipt, seq); the effect key of every credit.

    Attributes:
        occurred_at: block time of the evidence.
        recorded_at: when we learned of it.

    """

    receipt_id: str
    seq: int
    kind: EntryKind
    amount: int
    evidence: Evidence
    occurred_at: datetime
    recorded_at: datetime


@frozen(kw_only=True)
class Burn:
    """The end of a membership that goes with the refund of its order.

    Attributes:
        status: ``planned`` until the membership has ended: when the refund is done, or when the last month is over that
            was not given back. Then its token on chain is ``due`` to be burned, ``confirming`` or ``done``; ``ended``
            where there never was a token.
        identity, evidence: the burn on chain; evidence moves with reorgs.
        mark: 32 bytes under which the burn of a token is found that the contract has numbered itself
            (:func:`evmbilling.domain.identity.token_mark`); empty for other tokens.

    """

    status: BurnStatus = "planned"
    identity: CreditIdentity | None = None
    evidence: Evidence | None = None
    mark: bytes = b""


@frozen(kw_only=True)
class Refund:
    """Money on its way back: a row and a life of its own. Refunded is an amount of an order, not a state.

    Attributes:
        ledger_id: the order it gives back. ``receipt_id``: the money that no order took. Neither: the credit of
            ``user_id``.
        reference: 32 bytes of the order, and ``on_chain_id`` 32 bytes that name the refund in the contract's event.
        amount: base units of ``asset``.
        treasury: where it is paid from.
        address: where it goes; ``address_confirmed_at`` is when its owner proved it by a signature.
        via: ``contract`` calls the bound contract's refund, ``transfer`` sends the token from the treasury.
        approved_by: a second person, where the amount needs one.
        prepared_at: when its transaction was first handed out; from then on it may appear on chain.
        identity, evidence: the movement on chain that carried it out; evidence moves with reorgs.
        burn: set when the membership ends with it, or is expected to.
        shortens: by the gateway's policy the period that it gives back is not used: when it is done, the membership
            ends where the last period ends that was not given back; at once when none is left.
        paid_to: the first period that was not paid when it was asked for, where it takes periods away: money that
            comes for that one or later ones brings none of them back. None for refunds from before that was kept.

    """

    refund_id: str
    ledger_id: str | None = None
    receipt_id: str | None = None
    user_id: str | None = None
    network: str
    asset: Asset
    amount: int
    treasury: str
    reference: bytes = b""
    on_chain_id: bytes = b""
    via: Literal["contract", "transfer"] = "contract"
    address: str | None = None
    address_confirmed_at: datetime | None = None
    reason: str
    requested_by: str
    approved_by: str | None = None
    status: RefundStatus = RefundStatus.REQUESTED
    failure_reason: str | None = None
    tx_hash: bytes | None = None
    identity: CreditIdentity | None = None
    evidence: Evidence | None = None
    created_at: datetime
    prepared_at: datetime | None = None
    burn: Burn | None = None
    shortens: bool = False
    paid_to: int | None = None
    version: int = 1


def chain_position(receipt: Receipt) -> tuple[datetime, int, int, int]:
    """Return where a receipt's money stands among all money: by block time, then by its place on its chain."""
    evidence = receipt.evidence
    return (evidence.block_time, receipt.identity.chain_id, evidence.block_number, evidence.log_index)


def paid_at(receipt: Receipt, asked: datetime) -> datetime:
    """Return when something was paid: block time, not before it was asked for nor after we had learned of it."""
    return min(max(receipt.evidence.block_time, asked), max(receipt.first_seen_at, asked))
