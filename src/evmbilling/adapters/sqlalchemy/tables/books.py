"""Tables of the books: the ledger, treasuries, the finance queue, seals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers, unique
from evmbilling.adapters.sqlalchemy.types import (
    Address,
    Flag,
    Octets,
    PlainText,
    Uint256,
    UtcInstant,
    Whole,
    Word,
)

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.tables.maker import MakeTable

ACCOUNT = (
    "treasury",
    "receivable",
    "customer_credit",
    "deferred_revenue",
    "revenue",
    "tax",
    "suspense",
    "refunds",
    "write_off",
    "external",
    "gas",
)
POSTING_KIND = (
    "received",
    "taken_back",
    "completed",
    "uncompleted",
    "released",
    "due",
    "assigned",
    "refunded",
    "refund_reversed",
    "written_off",
    "external",
    "external_reversed",
    "gas",
)
QUEUE_KIND = (
    "suspense",
    "held",
    "duplicate",
    "reversed",
    "disputed",
    "evidence_changed",
    "token_halted",
    "contract_halted",
    "refund_approval",
    "write_off_approval",
)
RULING = ("assign", "credit", "refund", "write_off", "release", "acknowledge", "accept", "reverse")


def define_ledger(make: MakeTable) -> None:
    """Make the tables of postings, and of what owners hold by them."""
    make(
        "ledger_entries",
        column("entry_id", PlainText()),
        column("source", PlainText()),
        column("kind", Word(*POSTING_KIND)),
        column("chain_id", Whole()),
        column("token", Address()),
        column("decimals", Whole()),
        column("symbol", PlainText()),
        column("ledger_id", PlainText(), null=True),
        column("user_id", PlainText(), null=True),
        column("moved_chain", Whole(), null=True),
        column("moved_tx", Octets(32), null=True),
        column("moved_ordinal", Whole(), null=True),
        column("occurred_at", UtcInstant()),
        column("recorded_at", UtcInstant()),
        key("entry_id"),
        unique("source", "source"),
        index("order", "ledger_id", "entry_id", where="ledger_id IS NOT NULL"),
        index("recorded", "recorded_at", "entry_id"),
        refers(make.names, "ledger_id", "payment_transactions"),
        refers(make.names, "user_id", "customers"),
    )
    make(
        "ledger_lines",
        column("entry_id", PlainText()),
        column("seq", Whole()),
        column("account", Word(*ACCOUNT)),
        column("owner", PlainText()),
        column("side", Word("debit", "credit")),
        column("amount", Uint256()),
        key("entry_id", "seq"),
        refers(make.names, "entry_id", "ledger_entries"),
    )
    make(
        "balances",
        column("owner", PlainText()),
        column("account", Word(*ACCOUNT)),
        column("chain_id", Whole()),
        column("token", Address()),
        column("decimals", Whole()),
        column("symbol", PlainText()),
        column("debit", Uint256()),
        column("credit", Uint256()),
        key("owner", "account", "chain_id", "token"),
        index("deferred", "owner", where="account = 'deferred_revenue' AND credit > debit"),
    )


def define_treasuries(make: MakeTable) -> None:
    """Make the tables of what moved to and from treasuries, and of what a person must decide."""
    make(
        "treasuries",
        column("chain_id", Whole()),
        column("address", Address()),
        column("since_block", Whole()),
        key("chain_id", "address"),
    )
    make(
        "movements",
        column("chain_id", Whole()),
        column("tx_hash", Octets(32)),
        column("ordinal", Whole()),
        column("direction", Word("in", "out")),
        column("treasury", Address()),
        column("counterparty", Address()),
        column("asset_chain", Whole()),
        column("token", Address()),
        column("decimals", Whole()),
        column("symbol", PlainText()),
        column("amount", Uint256()),
        column("kind", Word("receipt", "refund", "suspense", "external")),
        column("receipt_id", PlainText(), null=True),
        column("refund_id", PlainText(), null=True),
        column("block_number", Whole()),
        column("block_hash", Octets(32)),
        column("block_time", UtcInstant()),
        column("log_index", Whole()),
        column("live", Flag()),
        column("version", Whole()),
        key("chain_id", "tx_hash", "ordinal"),
        refers(make.names, "receipt_id", "payment_receipts"),
        refers(make.names, "refund_id", "refunds"),
    )
    make(
        "finance_queue",
        column("item_id", PlainText()),
        column("kind", Word(*QUEUE_KIND)),
        column("subject", PlainText()),
        column("reason", PlainText()),
        column("user_id", PlainText(), null=True),
        column("ledger_id", PlainText(), null=True),
        column("receipt_id", PlainText(), null=True),
        column("refund_id", PlainText(), null=True),
        column("chain_id", Whole(), null=True),
        column("token", Address(), null=True),
        column("decimals", Whole(), null=True),
        column("symbol", PlainText(), null=True),
        column("amount", Uint256()),
        column("opened_at", UtcInstant()),
        column("state", Word("open", "decided", "withdrawn")),
        column("ruling", Word(*RULING), null=True),
        column("decided_by", PlainText(), null=True),
        column("decided_at", UtcInstant(), null=True),
        column("note", PlainText()),
        column("version", Whole()),
        key("item_id"),
        unique("subject", "subject", "kind"),
        index("state", "state", "item_id"),
        refers(make.names, "ledger_id", "payment_transactions"),
        refers(make.names, "receipt_id", "payment_receipts"),
        refers(make.names, "refund_id", "refunds"),
    )


def define_seals(make: MakeTable) -> None:
    """Make the tables of tamper evidence."""
    make(
        "seals",
        column("number", Whole()),
        column("previous", Octets(32)),
        column("mac", Octets(32)),
        column("covered", Whole()),
        column("sealed_at", UtcInstant()),
        column("key_id", PlainText(), null=True),
        key("number"),
    )
    make(
        "seal_items",
        column("table_name", PlainText()),
        column("row_key", PlainText()),
        column("digest", Octets(32)),
        column("seal", Whole()),
        key("table_name", "row_key"),
        index("seal", "seal", "table_name", "row_key"),
        refers(make.names, "seal", "seals", "number"),
    )
