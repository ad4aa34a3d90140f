"""Tables of money that moved, and of what others are told about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers, unique
from evmbilling.adapters.sqlalchemy.types import (
    Address,
    Flag,
    Octets,
    PlainText,
    StrictJson,
    Uint256,
    UtcInstant,
    Whole,
    Word,
)

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.tables.maker import MakeTable

RECEIPT_STATUS = ("seen", "credited", "final", "gone", "reversed", "disputed")
ENTRY_KIND = ("seen", "gone", "credited", "final", "reversed", "disputed")
REFUND_STATUS = (
    "requested",
    "approved",
    "prepared",
    "submitted",
    "confirming",
    "done",
    "unknown",
    "failed",
    "cancelled",
)
BURN_STATUS = ("planned", "ended", "due", "confirming", "done")


def define_money(make: MakeTable) -> None:
    """Make the tables of receipts, their journal, and refunds."""
    make(
        "payment_receipts",
        column("receipt_id", PlainText()),
        column("chain_id", Whole()),
        column("tx_hash", Octets(32)),
        column("ordinal", Whole()),
        column("ledger_id", PlainText(), null=True),
        column("user_id", PlainText(), null=True),
        column("allocation", Word("order", "credit", "suspense", "refunded", "written_off")),
        column("reason", PlainText(), null=True),
        column("token", Address()),
        column("decimals", Whole()),
        column("symbol", PlainText()),
        column("amount", Uint256()),
        column("payer", Address()),
        column("treasury", Address()),
        column("block_number", Whole()),
        column("block_hash", Octets(32)),
        column("block_time", UtcInstant()),
        column("log_index", Whole()),
        column("status", Word(*RECEIPT_STATUS)),
        column("first_seen_at", UtcInstant()),
        column("entries", Whole()),
        column("version", Whole()),
        key("receipt_id"),
        unique("identity", "chain_id", "tx_hash", "ordinal"),
        index("order", "ledger_id", where="ledger_id IS NOT NULL"),
        index("suspense", "first_seen_at", "receipt_id", where="allocation = 'suspense'"),
        refers(make.names, "ledger_id", "payment_transactions"),
    )
    make(
        "receipt_entries",
        column("receipt_id", PlainText()),
        column("seq", Whole()),
        column("kind", Word(*ENTRY_KIND)),
        column("amount", Uint256()),
        column("block_number", Whole()),
        column("block_hash", Octets(32)),
        column("block_time", UtcInstant()),
        column("log_index", Whole()),
        column("occurred_at", UtcInstant()),
        column("recorded_at", UtcInstant()),
        key("receipt_id", "seq"),
        refers(make.names, "receipt_id", "payment_receipts"),
    )
    make(
        "refunds",
        column("refund_id", PlainText()),
        column("ledger_id", PlainText(), null=True),
        column("receipt_id", PlainText(), null=True),
        column("user_id", PlainText(), null=True),
        column("network", PlainText()),
        column("chain_id", Whole()),
        column("token", Address()),
        column("decimals", Whole()),
        column("symbol", PlainText()),
        column("amount", Uint256()),
        column("treasury", Address()),
        column("reference", Octets()),
        column("on_chain_id", Octets()),
        column("via", Word("contract", "transfer")),
        column("address", Address(), null=True),
        column("address_confirmed_at", UtcInstant(), null=True),
        column("reason", PlainText()),
        column("requested_by", PlainText()),
        column("approved_by", PlainText(), null=True),
        column("status", Word(*REFUND_STATUS)),
        column("failure_reason", PlainText(), null=True),
        column("tx_hash", Octets(32), null=True),
        column("moved_chain", Whole(), null=True),
        column("moved_tx", Octets(32), null=True),
        column("moved_ordinal", Whole(), null=True),
        column("block_number", Whole(), null=True),
        column("block_hash", Octets(32), null=True),
        column("block_time", UtcInstant(), null=True),
        column("log_index", Whole(), null=True),
        column("created_at", UtcInstant()),
        column("version", Whole()),
        column("prepared_at", UtcInstant(), null=True),
        column("burn_status", Word(*BURN_STATUS), null=True),
        column("burned_chain", Whole(), null=True),
        column("burned_tx", Octets(32), null=True),
        column("burned_ordinal", Whole(), null=True),
        column("burned_number", Whole(), null=True),
        column("burned_hash", Octets(32), null=True),
        column("burned_time", UtcInstant(), null=True),
        column("burned_index", Whole(), null=True),
        column("burn_mark", Octets(32), null=True),
        column("shortens", Flag(), null=True),
        column("paid_to", Whole(), null=True),
        key("refund_id"),
        index("order", "ledger_id", "refund_id", where="ledger_id IS NOT NULL"),
        index("status", "status", "refund_id"),
        index("user", "user_id", "refund_id", where="user_id IS NOT NULL"),
        index("address", "address", where="address IS NOT NULL"),
        index("on_chain", "on_chain_id"),
        index("moved", "moved_tx", where="moved_tx IS NOT NULL"),
        index("burned", "burned_tx", where="burned_tx IS NOT NULL"),
        index("burn_mark", "burn_mark", where="burn_mark IS NOT NULL"),
        refers(make.names, "receipt_id", "payment_receipts"),
        refers(make.names, "ledger_id", "payment_transactions"),
    )


def define_records(make: MakeTable) -> None:
    """Make the outbox and the audit log."""
    make(
        "outbox",
        column("event_id", PlainText()),
        column("type", PlainText()),
        column("aggregate", PlainText()),
        column("seq", Whole()),
        column("occurred_at", UtcInstant()),
        column("recorded_at", UtcInstant()),
        column("data", StrictJson()),
        key("event_id"),
        unique("order", "aggregate", "seq"),
        index("recorded", "recorded_at", "event_id"),
    )
    make(
        "audit",
        column("audit_id", PlainText()),
        column("actor", PlainText()),
        column("action", PlainText()),
        column("object", PlainText()),
        column("changes", StrictJson()),
        column("recorded_at", UtcInstant()),
        key("audit_id"),
        index("recorded", "recorded_at", "audit_id"),
        index("object", "object", "recorded_at"),
    )
