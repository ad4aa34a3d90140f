"""An index by which orders are counted: it holds all that is asked, so that no order itself is read."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_index
from evmbilling.adapters.sqlalchemy.tables.maker import index

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    """Add the index."""
    add_index("payment_transactions", index("made", "created_at", "chain_id", "status"))
