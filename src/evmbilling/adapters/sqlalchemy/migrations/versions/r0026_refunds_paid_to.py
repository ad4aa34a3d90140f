"""How far a membership was paid when a refund was asked for that takes periods away."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns
from evmbilling.adapters.sqlalchemy.tables.maker import column
from evmbilling.adapters.sqlalchemy.types import Whole

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    """Add the column; refunds from before take away what is paid when they are done."""
    add_columns("refunds", column("paid_to", Whole(), null=True))
