"""Rows of receipts, refunds, events and audit entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.rows.billing import asset_values, read_asset
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.messages.events import AuditEntry, Event, EventType
from evmbilling.domain.payments.receipts import Burn, Evidence, Receipt, ReceiptEntry, Refund
from evmbilling.domain.states import ReceiptStatus, RefundStatus

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.rows.catalogue import Row, Values


_NO_EVIDENCE: Values = dict.fromkeys(("block_number", "block_hash", "block_time", "log_index"))


def moved_values(identity: CreditIdentity | None) -> Values:
    """Write which movement on chain a row stands for, where it is not the row's key."""
    return {
        "moved_chain": None if identity is None else identity.chain_id,
        "moved_tx": None if identity is None else identity.tx_hash,
        "moved_ordinal": None if identity is None else identity.ordinal,
    }


def read_moved(row: Row) -> CreditIdentity | None:
    """Read which movement on chain a row stands for."""
    if row.moved_chain is None:
        return None
    return CreditIdentity(row.moved_chain, row.moved_tx, row.moved_ordinal)


def evidence_values(evidence: Evidence) -> Values:
    """Write where on chain a movement stands."""
    return {
        "block_number": evidence.block_number,
        "block_hash": evidence.block_hash,
        "block_time": evidence.block_time,
        "log_index": evidence.log_index,
    }


def read_evidence(row: Row) -> Evidence:
    """Read where on chain a movement stands."""
    return Evidence(
        block_number=row.block_number,
        block_hash=row.block_hash,
        block_time=row.block_time,
        log_index=row.log_index,
    )


def receipt_values(receipt: Receipt) -> Values:
    """Write a receipt: its identity and what we know of it now."""
    return {
        "receipt_id": receipt.receipt_id,
        "chain_id": receipt.identity.chain_id,
        "tx_hash": receipt.identity.tx_hash,
        "ordinal": receipt.identity.ordinal,
        "first_seen_at": receipt.first_seen_at,
        **receipt_projection(receipt),
    }


def receipt_projection(receipt: Receipt) -> Values:
    """Write what may change: everything but the identity."""
    return {
        "ledger_id": receipt.ledger_id,
        "user_id": receipt.user_id,
        "allocation": receipt.allocation,
        "reason": receipt.reason,
        "token": receipt.asset.token,
        "decimals": receipt.asset.decimals,
        "symbol": receipt.asset.symbol,
        "amount": receipt.amount,
        "payer": receipt.payer,
        "treasury": receipt.treasury,
        **evidence_values(receipt.evidence),
        "status": receipt.status,
        "entries": receipt.entries,
        "version": receipt.version,
    }


def read_receipt(row: Row) -> Receipt:
    """Read a receipt."""
    return Receipt(
        receipt_id=row.receipt_id,
        identity=CreditIdentity(row.chain_id, row.tx_hash, row.ordinal),
        ledger_id=row.ledger_id,
        user_id=row.user_id,
        allocation=row.allocation,
        reason=row.reason,
        asset=read_asset(row),
        amount=row.amount,
        payer=row.payer,
        treasury=row.treasury,
        evidence=read_evidence(row),
        status=ReceiptStatus(row.status),
        first_seen_at=row.first_seen_at,
        entries=row.entries,
        version=row.version,
    )


def entry_values(entry: ReceiptEntry) -> Values:
    """Write a line of a receipt's journal."""
    return {
        "receipt_id": entry.receipt_id,
        "seq": entry.seq,
        "kind": entry.kind,
        "amount": entry.amount,
        **evidence_values(entry.evidence),
        "occurred_at": entry.occurred_at,
        "recorded_at": entry.recorded_at,
    }


def read_entry(row: Row) -> ReceiptEntry:
    """Read a line of a receipt's journal."""
    return ReceiptEntry(
        receipt_id=row.receipt_id,
        seq=row.seq,
        kind=row.kind,
        amount=row.amount,
        evidence=read_evidence(row),
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
    )


def refund_values(refund: Refund) -> Values:
    """Write a refund."""
    return {
        "refund_id": refund.refund_id,
        "ledger_id": refund.ledger_id,
        "receipt_id": refund.receipt_id,
        "user_id": refund.user_id,
        "network": refund.network,
        **asset_values(refund.asset),
        "amount": refund.amount,
        "treasury": refund.treasury,
        "reference": refund.reference,
        "on_chain_id": refund.on_chain_id,
        "via": refund.via,
        "address": refund.address,
        "address_confirmed_at": refund.address_confirmed_at,
        "reason": refund.reason,
        "requested_by": refund.requested_by,
        "approved_by": refund.approved_by,
        "status": refund.status,
        "failure_reason": refund.failure_reason,
        "tx_hash": refund.tx_hash,
        **moved_values(refund.identity),
        **(_NO_EVIDENCE if refund.evidence is None else evidence_values(refund.evidence)),
        "created_at": refund.created_at,
        "version": refund.version,
        "prepared_at": refund.prepared_at,
        **burn_values(refund.burn),
        "shortens": refund.shortens or None,
        "paid_to": refund.paid_to,
    }


def burn_values(burn: Burn | None) -> Values:
    """Write the end of a membership that goes with a refund."""
    identity = burn.identity if burn is not None else None
    evidence = burn.evidence if burn is not None else None
    return {
        "burn_status": None if burn is None else burn.status,
        "burned_chain": None if identity is None else identity.chain_id,
        "burned_tx": None if identity is None else identity.tx_hash,
        "burned_ordinal": None if identity is None else identity.ordinal,
        "burned_number": None if evidence is None else evidence.block_number,
        "burned_hash": None if evidence is None else evidence.block_hash,
        "burned_time": None if evidence is None else evidence.block_time,
        "burned_index": None if evidence is None else evidence.log_index,
        "burn_mark": None if burn is None else burn.mark or None,
    }


def read_burn(row: Row) -> Burn | None:
    """Read the end of a membership that goes with a refund."""
    if row.burn_status is None:
        return None
    identity, evidence = None, None
    if row.burned_chain is not None:
        identity = CreditIdentity(row.burned_chain, row.burned_tx, row.burned_ordinal)
    if row.burned_hash is not None:
        evidence = Evidence(
            block_number=row.burned_number,
            block_hash=row.burned_hash,
            block_time=row.burned_time,
            log_index=row.burned_index,
        )
    return Burn(status=row.burn_status, identity=identity, evidence=evidence, mark=row.burn_mark or b"")


def read_refund(row: Row) -> Refund:
    """Read a refund."""
    return Refund(
        refund_id=row.refund_id,
        ledger_id=row.ledger_id,
        receipt_id=row.receipt_id,
        user_id=row.user_id,
        network=row.network,
        asset=read_asset(row),
        amount=row.amount,
        treasury=row.treasury,
        reference=row.reference,
        on_chain_id=row.on_chain_id,
        via=row.via,
        address=row.address,
        address_confirmed_at=row.address_confirmed_at,
        reason=row.reason,
        requested_by=row.requested_by,
        approved_by=row.approved_by,
        status=RefundStatus(row.status),
        failure_reason=row.failure_reason,
        tx_hash=row.tx_hash,
        identity=read_moved(row),
        evidence=None if row.block_hash is None else read_evidence(row),
        created_at=row.created_at,
        prepared_at=row.prepared_at,
        burn=read_burn(row),
        shortens=bool(row.shortens),
        paid_to=row.paid_to,
        version=row.version,
    )


_TRACE = "traceparent"
"""Stands beside an event's own data in its column: most events have none, and sealed rows keep their columns."""


def event_values(event: Event) -> Values:
    """Write an event."""
    return {
        "event_id": event.event_id,
        "type": event.type,
        "aggregate": event.aggregate,
        "seq": event.seq,
        "occurred_at": event.occurred_at,
        "recorded_at": event.recorded_at,
        "data": event.data if event.trace is None else event.data | {_TRACE: event.trace},
    }


def read_event(row: Row) -> Event:
    """Read an event."""
    data = dict(row.data)
    return Event(
        event_id=row.event_id,
        type=EventType(row.type),
        aggregate=row.aggregate,
        seq=row.seq,
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        trace=data.pop(_TRACE, None),
        data=data,
    )


def audit_values(entry: AuditEntry) -> Values:
    """Write an audit entry."""
    return {
        "audit_id": entry.audit_id,
        "actor": entry.actor,
        "action": entry.action,
        "object": entry.object,
        "changes": entry.changes,
        "recorded_at": entry.recorded_at,
    }


def read_audit(row: Row) -> AuditEntry:
    """Read an audit entry."""
    return AuditEntry(
        audit_id=row.audit_id,
        actor=row.actor,
        action=row.action,
        object=row.object,
        changes=row.changes,
        recorded_at=row.recorded_at,
    )
