"""Refunds: when they were prepared, the memberships that end with them, and by what else they are found."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns, add_index
from evmbilling.adapters.sqlalchemy.tables.maker import column, index
from evmbilling.adapters.sqlalchemy.types import Octets, UtcInstant, Whole, Word

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add columns and indexes."""
    add_columns(
        "refunds",
        column("prepared_at", UtcInstant(), null=True),
        column("burn_status", Word("planned", "ended", "due", "confirming", "done"), null=True),
        column("burned_chain", Whole(), null=True),
        column("burned_tx", Octets(32), null=True),
        column("burned_ordinal", Whole(), null=True),
        column("burned_number", Whole(), null=True),
        column("burned_hash", Octets(32), null=True),
        column("burned_time", UtcInstant(), null=True),
        column("burned_index", Whole(), null=True),
    )
    add_index("refunds", index("user", "user_id", "refund_id", where="user_id IS NOT NULL"), "user_id", "refund_id")
    add_index("refunds", index("address", "address", where="address IS NOT NULL"), "address")
    add_index("refunds", index("on_chain", "on_chain_id"), "on_chain_id")
    add_index("refunds", index("moved", "moved_tx", where="moved_tx IS NOT NULL"), "moved_tx")
    add_index("refunds", index("burned", "burned_tx", where="burned_tx IS NOT NULL"), "burned_tx")
