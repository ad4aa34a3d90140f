"""Rows of mandates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.rows.billing import asset_values, read_asset
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.mandates.mandates import Mandate, MandateStatus, Permit, Seen
from evmbilling.domain.payments.receipts import Evidence

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.rows.catalogue import Row, Values

_SEEN = ("tx", "ordinal", "block", "block_hash", "block_time", "log_index")


def mandate_values(mandate: Mandate) -> Values:
    """Write a mandate."""
    return {
        "mandate_id": mandate.mandate_id,
        "digest": mandate.digest,
        "user_id": mandate.user_id,
        "subscription_id": mandate.subscription_id,
        "plan_slug": mandate.plan_slug,
        "plan_version": mandate.plan_version,
        "network": mandate.network,
        **asset_values(mandate.asset),
        "contract": mandate.contract,
        "payer": mandate.payer,
        "treasury": mandate.treasury,
        "operator": mandate.operator or None,
        "via": mandate.via,
        "charge_cap": mandate.charge_cap,
        "cap": mandate.cap,
        "spacing": mandate.spacing,
        "start_at": mandate.start,
        "expires_at": mandate.expires_at,
        "salt": mandate.salt,
        "status": mandate.status,
        "signature": mandate.signature,
        **_permit_values(mandate.permit),
        "created_at": mandate.created_at,
        "given_at": mandate.given_at,
        "cancelled_at": mandate.cancelled_at,
        "end_reason": mandate.end_reason,
        **_seen_values("given", mandate.on_chain),
        **_seen_values("revoked", mandate.revocation),
        "version": mandate.version,
    }


def read_mandate(row: Row) -> Mandate:
    """Read a mandate."""
    return Mandate(
        mandate_id=row.mandate_id,
        digest=row.digest,
        user_id=row.user_id,
        subscription_id=row.subscription_id,
        plan_slug=row.plan_slug,
        plan_version=row.plan_version,
        network=row.network,
        asset=read_asset(row),
        contract=row.contract,
        payer=row.payer,
        treasury=row.treasury,
        operator=row.operator or "",
        via=row.via,
        charge_cap=row.charge_cap,
        cap=row.cap,
        spacing=row.spacing,
        start=row.start_at,
        expires_at=row.expires_at,
        salt=row.salt,
        status=MandateStatus(row.status),
        signature=row.signature,
        permit=_read_permit(row),
        created_at=row.created_at,
        given_at=row.given_at,
        cancelled_at=row.cancelled_at,
        end_reason=row.end_reason,
        on_chain=_read_seen(row, "given"),
        revocation=_read_seen(row, "revoked"),
        version=row.version,
    )


def _permit_values(permit: Permit | None) -> Values:
    return {
        "permit_amount": permit and permit.amount,
        "permit_nonce": permit and permit.nonce,
        "permit_expires_at": permit and permit.expiration,
        "permit_deadline": permit and permit.deadline,
        "permit_signature": permit and permit.signature,
    }


def _read_permit(row: Row) -> Permit | None:
    if row.permit_amount is None:
        return None
    return Permit(
        amount=row.permit_amount,
        nonce=row.permit_nonce,
        expiration=row.permit_expires_at,
        deadline=row.permit_deadline,
        signature=row.permit_signature,
    )


def _seen_values(which: str, seen: Seen | None) -> Values:
    if seen is None:
        return {f"{which}_{name}": None for name in _SEEN}
    identity, evidence = seen.identity, seen.evidence
    block = (evidence.block_number, evidence.block_hash, evidence.block_time, evidence.log_index)
    return {
        f"{which}_{name}": value
        for name, value in zip(_SEEN, (identity.tx_hash, identity.ordinal, *block), strict=True)
    }


def _read_seen(row: Row, which: str) -> Seen | None:
    tx_hash, ordinal, number, block_hash, time, log_index = (getattr(row, f"{which}_{name}") for name in _SEEN)
    if tx_hash is None:
        return None
    return Seen(
        identity=CreditIdentity(row.chain_id, tx_hash, ordinal),
        evidence=Evidence(block_number=number, block_hash=block_hash, block_time=time, log_index=log_index),
    )
