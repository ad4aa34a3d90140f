"""An index of the deposit addresses at which something is: they are few, and people look for them."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_index
from evmbilling.adapters.sqlalchemy.tables.maker import index

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the index."""
    add_index("deposits", index("held", "ledger_id", where="seen_at IS NOT NULL"))
