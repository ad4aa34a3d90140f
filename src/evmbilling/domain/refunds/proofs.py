"""Transactions that are named as what paid a refund in the chain's own coin.

A plain transfer of the coin leaves no log. The transaction itself is the evidence, so its hash has to be known: whoever
sent it names it. From it a log is made as a token would have left it, at a place where no real log can be; from there
on it is evidence like any other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import attrs
from attrs import frozen

from evmbilling._keccak import keccak
from evmbilling.domain.addresses import NATIVE_COIN, address_bytes
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, KnownTransaction

ProofState = Literal["open", "settled", "refused"]
COIN_PLACE = 2**31
"""Ordinal of a coin's transfer; its index in its block is so much plus the transaction's: no block has so many logs."""
LOOK_AGAIN = timedelta(seconds=10)
LOOK_LONGEST = timedelta(minutes=10)
LOOK_RAREST = timedelta(days=1)
"""What a person has named and nobody mines is asked for ever more rarely, up to this: a hash may be mistyped."""
_OF_ITS_AGE = 24
"""A pause grows to one part in so many of the time since it was named: of a day, to an hour."""
_MISSED_AFTER, _MISSED_LOOKS = timedelta(days=1), 10
FOUND_AGAIN = timedelta(minutes=1)
"""How often it is seen whether a block that holds one can no longer change."""
FAILED, NOT_MINED, TOO_EARLY = "failed", "not_mined", "too_early"
MISSING = "missing"
"""What a person has named and no node has shown in a block for a day: somebody is told, and it is still looked for."""
NONCE_USED, PAID_BY_ANOTHER = "nonce_used", "paid_by_another"
RELAYER = "relayer"
"""Who names what our own relayer has signed."""
WHY = {
    "not_plain": "this transaction is no plain transfer of the coin to an address",
    "other_sender": "this transaction was sent by another wallet than the refund's treasury",
    "other_receiver": "this transaction pays another address than the refund's",
    "other_amount": "this transaction pays another amount than the refund's",
    "own_treasury": "this transaction pays one of the treasuries: nothing has left",
    "counted": "this transaction is in the books already, as something else",
    PAID_BY_ANOTHER: "another transaction has paid this refund",
    NONCE_USED: "another transaction of this wallet has used its number up: it can never be mined",
    FAILED: "this transaction failed: nothing was paid",
    TOO_EARLY: "this transaction is older than the payment that the refund returns",
}
"""Why a transaction is not a refund, in words for people; the keys are stable."""
_TRANSFER = keccak(b"Transfer(address,address,uint256)")
_WORD = 32


@frozen(kw_only=True)
class RefundProof:
    """A transaction that is named as what paid a refund; a transaction is that of one refund only.

    Attributes:
        state: ``open`` until its block cannot change any more, then ``settled``; ``refused`` when it is not the refund.
        reason: stable code of why it is refused, or of what it waits for; None once it is found.
        looks: how often it was looked for in vain; ``next_at`` is when it is looked at again while it is open.
        named_by: who named it; ``relayer`` where the relayer signed it.

    """

    chain_id: int
    tx_hash: bytes
    refund_id: str
    state: ProofState = "open"
    reason: str | None = NOT_MINED
    looks: int = 0
    next_at: datetime
    named_by: str
    named_at: datetime
    version: int = 1

    @property
    def identity(self) -> CreditIdentity:
        """The name of its movement."""
        return CreditIdentity(self.chain_id, self.tx_hash, COIN_PLACE)


def is_coin_refund(refund: Refund) -> bool:
    """Whether a refund leaves no log: the chain's own coin, sent plainly."""
    return refund.via == "transfer" and refund.asset.is_native


def is_coin_log(log: ChainLog) -> bool:
    """Whether a log was made of a transfer of the coin."""
    return log.ordinal == COIN_PLACE


def misfit(refund: Refund, sent: KnownTransaction) -> str | None:
    """Return why a transaction cannot be a refund, by what was signed; None when it can."""
    if sent.to is None or sent.data:
        return "not_plain"
    checks = {
        "other_sender": sent.sender == refund.treasury,
        "other_receiver": sent.to == refund.address,
        "other_amount": sent.value == refund.amount,
    }
    return next((reason for reason, fits in checks.items() if not fits), None)


def coin_log(chain_id: int, sent: KnownTransaction, block: BlockHeader) -> ChainLog:
    """Return a transfer of the coin as the log that a token would have left, with the coin in a token's place."""
    parties = (address_bytes(sent.sender), address_bytes(sent.to or NATIVE_COIN))
    return ChainLog(
        chain_id=chain_id,
        block_number=block.number,
        block_hash=block.hash,
        block_time=block.timestamp,
        tx_hash=sent.tx_hash,
        log_index=COIN_PLACE + sent.index,
        ordinal=COIN_PLACE,
        address=NATIVE_COIN,
        topics=(_TRANSFER, *(party.rjust(_WORD, b"\0") for party in parties)),
        data=sent.value.to_bytes(_WORD, "big"),
    )


def waits(proof: RefundProof, reason: str, now: datetime) -> RefundProof:
    """Return the proof as it is looked at again: later each time."""
    longest, age = LOOK_LONGEST, now - proof.named_at
    if reason == NOT_MINED and proof.named_by != RELAYER:
        longest = min(max(LOOK_LONGEST, age / _OF_ITS_AGE), LOOK_RAREST)
        if age >= _MISSED_AFTER and proof.looks >= _MISSED_LOOKS:
            reason = MISSING
    pause = min(LOOK_AGAIN * 2 ** min(proof.looks, 14), longest)
    return attrs.evolve(proof, reason=reason, looks=proof.looks + 1, next_at=now + pause, version=proof.version + 1)


def hastened(proof: RefundProof, now: datetime) -> RefundProof | None:
    """Return the proof of a transaction that is looked for at the next reading; None where that is soon anyway."""
    if proof.state != "open" or proof.next_at - now <= LOOK_LONGEST:
        return None
    return attrs.evolve(proof, next_at=now, version=proof.version + 1)


def found(proof: RefundProof, now: datetime) -> RefundProof:
    """Return the proof of a transaction whose transfer is evidence now."""
    return attrs.evolve(proof, reason=None, looks=0, next_at=now + FOUND_AGAIN, version=proof.version + 1)


def settled(proof: RefundProof) -> RefundProof:
    """Return the proof of a transaction in a block that cannot change any more."""
    return attrs.evolve(proof, state="settled", reason=None, version=proof.version + 1)


def refused(proof: RefundProof, reason: str) -> RefundProof:
    """Return the proof of a transaction that is not the refund, and never will be."""
    return attrs.evolve(proof, state="refused", reason=reason, version=proof.version + 1)


def reopened(proof: RefundProof, now: datetime) -> RefundProof:
    """Return the proof of a transaction that is looked for anew: the chain took it back, or what ruled it out."""
    return attrs.evolve(proof, state="open", reason=NOT_MINED, looks=0, next_at=now, version=proof.version + 1)
