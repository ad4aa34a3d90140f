"""Figures: movements, their sums and how far the folder is; numbered documents; who owes, found by an index."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.migrations.support import add_index, create, guard
from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers, unique
from evmbilling.adapters.sqlalchemy.triggers import Guard
from evmbilling.adapters.sqlalchemy.types import Address, Digits, Flag, PlainText, StrictJson, UtcInstant, Whole, Word

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.migrations.support import Creator

revision = "0017"
down_revision = "0016"

LATE = "late"
OWING = "status IN ('past_due', 'suspended')"


def upgrade() -> None:
    """Create the tables, guard what is append-only, and index what owes."""
    columns = create(_figures, _documents)
    guards = (
        Guard("figure_moves", (("source", "seq"),)),
        Guard("receipt_documents", (("series", "serial"), ("source",))),
    )
    guard(columns, guards)
    add_index("subscriptions", index("owing", "subscription_id", where=OWING))


def _figures(make: Creator) -> None:
    """Make the tables of movements, of their sums, and of how far the folder is."""
    make(
        "figure_moves",
        column("source", PlainText()),
        column("seq", Whole()),
        column("series", PlainText()),
        column("chain_id", Whole()),
        column("token", Address()),
        column("decimals", Whole()),
        column("symbol", PlainText()),
        column("per", Whole()),
        column("amount", Digits()),
        column("items", Whole()),
        column("occurred_at", UtcInstant()),
        column("recorded_at", UtcInstant()),
        column("late", Flag()),
        column("subject", PlainText(), null=True),
        key("source", "seq"),
        index("occurred", "occurred_at"),
        index("late", "recorded_at", where=LATE),
    )
    make(
        "figure_sums",
        column("grain", Word("quarter", "hour", "day", "month", "ever")),
        column("starts_at", UtcInstant()),
        column("series", PlainText()),
        column("chain_id", Whole()),
        column("token", Address()),
        column("per", Whole()),
        column("decimals", Whole()),
        column("symbol", PlainText()),
        column("amount", Digits()),
        column("items", Whole()),
        key("grain", "starts_at", "series", "chain_id", "token", "per"),
    )
    make(
        "journal_marks",
        column("reader", PlainText()),
        column("aggregate", PlainText()),
        column("seq", Whole()),
        column("known", StrictJson()),
        key("reader", "aggregate"),
    )
    make(
        "figure_states",
        column("reader", PlainText()),
        column("entries_from", UtcInstant()),
        column("events_from", UtcInstant()),
        column("swept_at", UtcInstant()),
        column("complete_at", UtcInstant()),
        column("quarters_from", UtcInstant()),
        column("version", Whole()),
        key("reader"),
    )


def _documents(make: Creator) -> None:
    """Make the tables of numbered documents, and of what the host says about buyers."""
    make(
        "receipt_documents",
        column("series", PlainText()),
        column("serial", Whole()),
        column("kind", Word("receipt", "credit_note", "correction")),
        column("source", PlainText()),
        column("subject", PlainText()),
        column("user_id", PlainText(), null=True),
        column("ledger_id", PlainText(), null=True),
        column("corrects", Whole(), null=True),
        column("issued_at", UtcInstant()),
        column("content", StrictJson()),
        key("series", "serial"),
        unique("source", "source"),
        index("subject", "subject", "series", "serial"),
        index("user", "user_id", "series", "serial", where="user_id IS NOT NULL"),
        refers(make.names, "ledger_id", "payment_transactions"),
    )
    make(
        "buyer_notes",
        column("series", PlainText()),
        column("serial", Whole()),
        column("user_id", PlainText()),
        column("text", PlainText()),
        key("series", "serial"),
        index("user", "user_id"),
        refers(make.names, "series serial", "receipt_documents"),
    )
