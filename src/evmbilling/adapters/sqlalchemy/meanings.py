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
    "uq_payment_transactions_renewal": (
        Conflict,
        "period",
        "this period of the subscription was asked for before",
    ),
    "pk_charges": (AlreadyExists, "attempt", "this attempt of the order is made"),
    "pk_pay_links": (AlreadyExists, "token", "this token is taken"),
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
    "pk_unsent_events": (AlreadyExists, "event_id", "this event is published"),
    "uq_wallets_address": (AlreadyExists, "address", "another user confirmed this wallet"),
    "pk_ledger_entries": (AlreadyExists, "entry_id", "an entry with this id is posted"),
    "uq_ledger_entries_source": (AlreadyExists, "source", "this source is posted"),
    "pk_ledger_lines": (AlreadyExists, "entry_id", "an entry with this id is posted"),
    "pk_movements": (AlreadyExists, "identity", "this log has a movement"),
    "pk_finance_queue": (AlreadyExists, "item_id", "an item with this id is queued"),
    "uq_finance_queue_subject": (AlreadyExists, "subject", "this subject is queued"),
    "pk_seals": (AlreadyExists, "number", "this number is sealed"),
    "pk_seal_items": (AlreadyExists, "key", "this row is sealed"),
    "pk_webhook_inbox": (AlreadyExists, "event_id", "this webhook was accepted before"),
    "pk_webhook_endpoints": (VersionConflict, None, "the endpoint changed since it was read; read it again"),
    "pk_transmissions": (VersionConflict, None, "the transmission changed since it was read; read it again"),
    "uq_transmissions_attempt": (Conflict, "subject", "this attempt exists"),
    "uq_transmissions_open": (Conflict, "subject", "a transaction for this is on its way"),
    "uq_transmissions_nonce": (Conflict, "nonce", "another transaction of this sender has this nonce"),
    "pk_signed_transactions": (AlreadyExists, "seq", "this version is signed"),
    "uq_signed_transactions_hash": (AlreadyExists, "tx_hash", "this transaction is signed"),
    "pk_refund_proofs": (AlreadyExists, "tx_hash", "this transaction is named for a refund"),
    "pk_deposits": (VersionConflict, None, "the deposit address changed since it was read; read it again"),
    "pk_mandates": (VersionConflict, None, "the mandate changed since it was read; read it again"),
    "uq_mandates_digest": (AlreadyExists, "digest", "a mandate with this id on chain exists"),
    "pk_figure_moves": (AlreadyExists, "source", "this movement is recorded"),
    "pk_figure_states": (VersionConflict, None, "another folder was faster"),
    "pk_receipt_documents": (AlreadyExists, "number", "this number is given"),
    "uq_receipt_documents_source": (AlreadyExists, "source", "this has a document"),
    "pk_buyer_notes": (AlreadyExists, "number", "this number is given"),
    "pk_wallet_challenges": (AlreadyExists, "nonce", "this nonce is taken"),
}


def meaning_of_duplicate(duplicate: Duplicate) -> BillingError:
    """Return the domain's error for a taken key; a constraint that nobody expects to be met stays a failure."""
    if duplicate.constraint not in _TAKEN:
        return duplicate
    kind, field, message = _TAKEN[duplicate.constraint]
    return kind(message, field=field)
