"""Which domain error a named unique constraint stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.errors import AlreadyExists, BillingError, Conflict, VersionConflict

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.failures import Duplicate

_TAKEN: dict[str, tuple[type[BillingError], str | None, str]] = {
    "pk_networks": (VersionConflict, None, "the network changed since it was read; read it again"),
    "uq_networks_chain": (AlreadyExists, "chain_id", "another network has this chain id"),
    "pk_gateways": (VersionConflict, None, "the gateway changed since it was read; read it again"),
    "pk_contracts": (VersionConflict, None, "the contract changed since it was read; read it again"),
    "pk_plans": (AlreadyExists, "plan", "this version of the plan exists"),
    "pk_payment_transactions": (AlreadyExists, "ledger_id", "an order with this id exists"),
    "uq_payment_transactions_reference": (AlreadyExists, "reference", "an order with this reference exists"),
    "uq_payment_transactions_open_period": (
        Conflict,
        "period",
        "an open order for this period of the subscription exists",
    ),
    "pk_idempotency_keys": (AlreadyExists, "idempotency_key", "this idempotency key is taken"),
    "pk_subscriptions": (AlreadyExists, "subscription_id", "a subscription with this id exists"),
    "uq_subscriptions_live": (Conflict, "product", "the user has a live subscription to this product"),
    "pk_subscription_changes": (AlreadyExists, "seq", "this change of the subscription is recorded"),
    "pk_payment_receipts": (AlreadyExists, "receipt_id", "a receipt with this id exists"),
    "uq_payment_receipts_identity": (AlreadyExists, "identity", "this movement on chain has a receipt"),
    "pk_receipt_entries": (AlreadyExists, "seq", "this entry of the receipt is written"),
    "pk_refunds": (VersionConflict, None, "the refund changed since it was read; read it again"),
    "pk_outbox": (AlreadyExists, "event_id", "this event is published"),
    "uq_outbox_order": (AlreadyExists, "seq", "an event with this number is published"),
    "pk_audit": (AlreadyExists, "audit_id", "this audit entry is written"),
}


def meaning_of_duplicate(duplicate: Duplicate) -> BillingError:
    """Return the domain's error for a taken key; a constraint that nobody expects to be met stays a failure."""
    if duplicate.constraint not in _TAKEN:
        return duplicate
    kind, field, message = _TAKEN[duplicate.constraint]
    return kind(message, field=field)
