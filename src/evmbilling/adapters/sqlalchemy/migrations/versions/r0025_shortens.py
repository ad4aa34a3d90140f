"""Whether the period that a refund gives back is not used any more."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns
from evmbilling.adapters.sqlalchemy.tables.maker import column
from evmbilling.adapters.sqlalchemy.types import Flag

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Add the column; refunds from before take away what they took away then."""
    add_columns("refunds", column("shortens", Flag(), null=True))
