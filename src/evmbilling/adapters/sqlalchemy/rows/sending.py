"""Our own transactions as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evmbilling.domain.refunds.proofs import RefundProof
from evmbilling.domain.secrets import parse_secret_ref
from evmbilling.domain.selling.deposits import Deposit
from evmbilling.domain.sending.transmissions import MinedIn, SignedTransaction, Transmission, TransmissionStatus

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.rows.catalogue import Values

Row = Any


def transmission_values(sent: Transmission) -> Values:
    """Write a transmission; where its key is, never the key."""
    mined = sent.mined
    return {
        "transmission_id": sent.transmission_id,
        "purpose": sent.purpose,
        "subject": sent.subject,
        "attempt": sent.attempt,
        "user_id": sent.user_id,
        "network": sent.network,
        "chain_id": sent.chain_id,
        "signer": sent.signer.stored,
        "sender": sent.sender,
        "recipient": sent.to,
        "value": sent.value,
        "data": sent.data,
        "gas": sent.gas,
        "gas_ceiling": sent.gas_ceiling,
        "not_after": sent.not_after,
        "status": sent.status,
        "nonce": sent.nonce,
        "versions": sent.versions,
        "mined_hash": mined.tx_hash if mined else None,
        "block_number": mined.block_number if mined else None,
        "block_hash": mined.block_hash if mined else None,
        "block_time": mined.block_time if mined else None,
        "succeeded": mined.succeeded if mined else None,
        "gas_paid": mined.gas_paid if mined else None,
        "withdrawn": sent.withdrawn,
        "failure_reason": sent.failure_reason,
        "looks": sent.looks,
        "next_at": sent.next_at,
        "waiting_since": sent.waiting_since,
        "created_at": sent.created_at,
        "version": sent.version,
    }


def read_transmission(row: Row) -> Transmission:
    """Read a transmission."""
    return Transmission(
        transmission_id=row.transmission_id,
        purpose=row.purpose,
        subject=row.subject,
        attempt=row.attempt,
        user_id=row.user_id,
        network=row.network,
        chain_id=row.chain_id,
        signer=parse_secret_ref(row.signer, field="signer"),
        sender=row.sender,
        to=row.recipient,
        value=row.value,
        data=row.data,
        gas=row.gas,
        gas_ceiling=row.gas_ceiling,
        not_after=row.not_after,
        status=TransmissionStatus(row.status),
        nonce=row.nonce,
        versions=row.versions,
        mined=None if row.mined_hash is None else _read_mined(row),
        withdrawn=row.withdrawn,
        failure_reason=row.failure_reason,
        looks=row.looks,
        next_at=row.next_at,
        waiting_since=row.waiting_since,
        created_at=row.created_at,
        version=row.version,
    )


def _read_mined(row: Row) -> MinedIn:
    return MinedIn(
        tx_hash=row.mined_hash,
        block_number=row.block_number,
        block_hash=row.block_hash,
        block_time=row.block_time,
        succeeded=row.succeeded,
        gas_paid=row.gas_paid,
    )


def signed_values(signed: SignedTransaction) -> Values:
    """Write a signed version."""
    return {
        "transmission_id": signed.transmission_id,
        "seq": signed.seq,
        "kind": signed.kind,
        "tx_hash": signed.tx_hash,
        "raw": signed.raw,
        "max_fee": signed.max_fee,
        "priority_fee": signed.priority_fee,
        "signed_at": signed.signed_at,
    }


def read_signed(row: Row) -> SignedTransaction:
    """Read a signed version."""
    return SignedTransaction(
        transmission_id=row.transmission_id,
        seq=row.seq,
        kind=row.kind,
        tx_hash=row.tx_hash,
        raw=row.raw,
        max_fee=row.max_fee,
        priority_fee=row.priority_fee,
        signed_at=row.signed_at,
    )


def deposit_values(deposit: Deposit) -> Values:
    """Write a deposit address."""
    return {
        "ledger_id": deposit.ledger_id,
        "chain_id": deposit.chain_id,
        "address": deposit.address,
        "watched_until": deposit.watched_until,
        "next_at": deposit.next_at,
        "held": deposit.held,
        "seen_at": deposit.seen_at,
        "sweeps": deposit.sweeps,
        "failures": deposit.failures,
        "version": deposit.version,
    }


def read_deposit(row: Row) -> Deposit:
    """Read a deposit address."""
    return Deposit(
        ledger_id=row.ledger_id,
        chain_id=row.chain_id,
        address=row.address,
        watched_until=row.watched_until,
        next_at=row.next_at,
        held=row.held,
        seen_at=row.seen_at,
        sweeps=row.sweeps,
        failures=row.failures,
        version=row.version,
    )


def proof_values(proof: RefundProof) -> Values:
    """Write the transaction that is named for a refund."""
    return {
        "chain_id": proof.chain_id,
        "tx_hash": proof.tx_hash,
        "refund_id": proof.refund_id,
        "state": proof.state,
        "reason": proof.reason,
        "looks": proof.looks,
        "next_at": proof.next_at,
        "named_by": proof.named_by,
        "named_at": proof.named_at,
        "version": proof.version,
    }


def read_proof(row: Row) -> RefundProof:
    """Read the transaction that is named for a refund."""
    return RefundProof(
        chain_id=row.chain_id,
        tx_hash=row.tx_hash,
        refund_id=row.refund_id,
        state=row.state,
        reason=row.reason,
        looks=row.looks,
        next_at=row.next_at,
        named_by=row.named_by,
        named_at=row.named_at,
        version=row.version,
    )
