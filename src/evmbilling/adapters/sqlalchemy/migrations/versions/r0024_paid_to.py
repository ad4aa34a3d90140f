"""What a resume says of the periods that were paid when the pause was over."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns
from evmbilling.adapters.sqlalchemy.tables.maker import column
from evmbilling.adapters.sqlalchemy.types import Whole

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    """Add the column; its triggers refuse every change of a row, whatever columns that has."""
    add_columns("subscription_changes", column("paid_to", Whole(), null=True))
