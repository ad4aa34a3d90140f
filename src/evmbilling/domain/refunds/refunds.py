"""The rule of refunds: never more than came in, and a life that follows the chain like a payment's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import attrs

from evmbilling.domain.payments.credit import OVER, Purse, on_its_way
from evmbilling.domain.payments.judgement import Depths
from evmbilling.domain.payments.receipts import Evidence, Receipt, Refund
from evmbilling.domain.reading.evidence import ChainLog, Observation
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import (
    PAID_ORDERS,
    REFUND_MOVES,
    SUPPORTING_RECEIPTS,
    ReceiptStatus,
    RefundStatus,
    check_move,
)
from evmbilling.errors import Conflict, IllegalTransition, InputError

AWAITED = frozenset({RefundStatus.PREPARED, RefundStatus.SUBMITTED, RefundStatus.UNKNOWN, RefundStatus.CONFIRMING})
"""Refunds whose transaction may appear on chain."""
SURE = SUPPORTING_RECEIPTS - {ReceiptStatus.DISPUTED}
"""Receipts whose money may go back: nobody doubts it."""


def refundable_of_order(order: Order, receipts: Iterable[Receipt], refunds: Iterable[Refund]) -> int:
    """Return how many base units of a paid order can still be given back.

    An order that a person marked as paid gives back what came in on chain for it, and nothing else.
    """
    if order.status not in PAID_ORDERS:
        return 0
    received = sum(
        r.amount for r in receipts if r.ledger_id == order.ledger_id and r.allocation == "order" and r.status in SURE
    )
    return max(0, min(order.amount, received) - on_its_way(refunds))


def refundable_of_receipt(receipt: Receipt, order: Order | None, purse: Purse | None) -> int:
    """Return how many base units of money that no order took can be given back: all of it, or nothing.

    It is set aside as a whole (``refunded``) when it is asked for, so that nothing else can count it meanwhile.

    Args:
        receipt: of nobody, or of the customer whose ``purse`` is given.
        order: the one that it names.
        purse: the customer's; what went back as credit, or through an order, does not go back again.

    """
    if receipt.status not in SURE or receipt.allocation in ("written_off", "refunded"):
        return 0
    if receipt.allocation == "order" and (order is None or order.status in PAID_ORDERS or not order.closed_as):
        return 0
    if receipt.allocation == "suspense":
        return receipt.amount
    covered = purse is not None and purse.free(releasing=receipt) >= receipt.amount
    return receipt.amount if covered else 0


def bounded(amount: int | None, most: int) -> int:
    """Return the amount to give back: what was asked for, or all that is left.

    Raises:
        Conflict: nothing is left.
        InputError: more than is left.

    """
    if most <= 0:
        raise Conflict("there is nothing left to give back", field="amount", refundable="0")
    if amount is not None and amount > most:
        raise InputError(f"at most {most} base units can be given back", field="amount", refundable=str(most))
    return most if amount is None else amount


def move(refund: Refund, status: RefundStatus, **changes: Any) -> Refund:
    """Return the refund in its next state. Each step is taken once: who comes second decides nothing.

    Raises:
        IllegalTransition: the table has no such move, or it stands there already.

    """
    if refund.status is status:
        raise IllegalTransition(f"this refund is {status} already", field="status", before=str(status))
    check_move(REFUND_MOVES, refund.status, status)
    return attrs.evolve(refund, status=status, version=refund.version + 1, **changes)


def given_up(refund: Refund, reason: str) -> Refund:
    """Return a refund that is not to be sent any more; one that the chain took back for good has failed.

    Raises:
        IllegalTransition: it is on chain, or over.

    """
    vanished = refund.status is RefundStatus.CONFIRMING and refund.evidence is None
    return move(refund, RefundStatus.FAILED if vanished else RefundStatus.CANCELLED, failure_reason=reason)


def may_appear(refund: Refund) -> bool:
    """Whether a refund's transaction may be found on chain: one that was prepared can be sent though it was given up.

    What left must be accounted for, whatever had been decided.
    """
    return refund.status in AWAITED or (refund.status in OVER and refund.prepared_at is not None)


def given_alone(refunds: Iterable[Refund]) -> int:
    """Return how much of some refunds no second person agreed to, nor is asked about.

    It was given back, is about to be, or may still be though it was given up: preparing and giving up would otherwise
    go past a second person's limit in parts. What the relayer could not send, and no block ever held, does not count;
    the chain alone brings it back, and then it is on its way again.
    """
    counting = (r for r in refunds if r.status not in OVER or (may_appear(r) and not _never_left(r)))
    return sum(r.amount for r in counting if r.approved_by is None and r.status is not RefundStatus.REQUESTED)


def _never_left(refund: Refund) -> bool:
    """Whether a refund failed for ever: a person gives up as failed only what was in a block once."""
    return refund.status is RefundStatus.FAILED and refund.identity is None


def carries_out(refund: Refund, transfer: Observation) -> bool:
    """Whether a treasury's transfer is this refund: token, treasury, receiver and amount are what was prepared."""
    return (
        refund.via == "transfer"
        and refund.asset.chain_id == transfer.log.chain_id
        and (refund.asset.token, refund.amount) == (transfer.token, transfer.amount)
        and (refund.treasury, refund.address) == (transfer.payer, transfer.treasury)
    )


def confirms(refund: Refund, event: Observation) -> bool:
    """Whether the contract's event is this refund, in every part that it tells; it names the refund or its order."""
    return (
        refund.via == "contract"
        and refund.asset.chain_id == event.log.chain_id
        and (event.refund_id or event.reference) != b""
        and event.refund_id in (b"", refund.on_chain_id)
        and event.reference in (b"", refund.reference)
        and (refund.asset.token, refund.amount) == (event.token, event.amount)
        and refund.address == event.beneficiary
    )


def has_moved(refund: Refund, event: Observation, transfer: Observation | None) -> bool:
    """Whether what an event says has happened: of a contract that is not ours the token's own transfer is the proof."""
    if event.rail != "call" or refund.asset.is_native:
        return True
    return transfer is not None and transfer.payer == refund.treasury


def follow_refund(refund: Refund, log: ChainLog | None, depths: Depths) -> Refund:
    """Return the refund as its evidence leaves it; the same one when nothing changed.

    Raises:
        IllegalTransition: the table has no way from where it stands.

    """
    if log is None:
        return _without_evidence(refund)
    evidence = evidence_of(log)
    done = refund.status is RefundStatus.DONE or depths.credit_after.reached(log.block_number, depths.heights)
    status = refund.status
    for step in _ladder(status, done=done):
        status = check_move(REFUND_MOVES, status, step)
    after = attrs.evolve(refund, status=status, tx_hash=log.tx_hash, identity=log.identity, evidence=evidence)
    return after if after == refund else attrs.evolve(after, version=refund.version + 1)


def evidence_of(log: ChainLog) -> Evidence:
    """Return where a log stands on its chain."""
    return Evidence(
        block_number=log.block_number, block_hash=log.block_hash, block_time=log.block_time, log_index=log.log_index
    )


def first_of(refunds: Sequence[Refund]) -> Refund | None:
    """Return the oldest refund that fits, one that is waited for before one that was given up.

    Those that fit one transfer are equal in all that it can show.
    """
    return min(refunds, key=lambda refund: (refund.status in OVER, refund.refund_id), default=None)


def refund_facts(refund: Refund, now: datetime) -> dict[str, object]:
    """Return what events say about a refund."""
    return {
        "refund_id": refund.refund_id,
        "ledger_id": refund.ledger_id,
        "receipt_id": refund.receipt_id,
        "user_id": refund.user_id,
        "status": str(refund.status),
        "network": refund.network,
        "token": refund.asset.token,
        "symbol": refund.asset.symbol,
        "decimals": refund.asset.decimals,
        "amount": str(refund.amount),
        "address": refund.address,
        "tx_hash": "0x" + refund.tx_hash.hex() if refund.tx_hash else None,
        "at": now.isoformat(),
    }


def _ladder(status: RefundStatus, *, done: bool) -> list[RefundStatus]:
    rungs = [RefundStatus.PREPARED, RefundStatus.SUBMITTED, RefundStatus.CONFIRMING, RefundStatus.DONE]
    if status is RefundStatus.UNKNOWN or status in OVER:
        rungs = [status, RefundStatus.CONFIRMING, RefundStatus.DONE]
    last = len(rungs) if done else len(rungs) - 1
    start = rungs.index(status) + 1 if status in rungs else 0
    return rungs[start:last]


def _without_evidence(refund: Refund) -> Refund:
    if refund.evidence is None:
        return refund
    status = RefundStatus.CONFIRMING if refund.status is RefundStatus.DONE else refund.status
    return attrs.evolve(refund, status=status, evidence=None, version=refund.version + 1)
