"""Lag: how far a network may be behind before it sells no more; what finance decides about evidence in doubt."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_column, change_words, names
from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers, unique
from evmbilling.adapters.sqlalchemy.types import Address, PlainText, Uint256, UtcInstant, Whole, Word

revision = "0008"
down_revision = "0007"

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


def upgrade() -> None:
    """Add the setting to networks; let the finance queue hold the new kinds and rulings."""
    add_column("networks", column("max_lag", Whole(), null=True))
    change_words(
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
        refers(names(), "ledger_id", "payment_transactions"),
        refers(names(), "receipt_id", "payment_receipts"),
        refers(names(), "refund_id", "refunds"),
        columns=("kind", "ruling"),
    )
