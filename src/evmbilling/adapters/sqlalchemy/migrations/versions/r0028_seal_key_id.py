"""Which key made a link of the chain of seals."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns
from evmbilling.adapters.sqlalchemy.tables.maker import column
from evmbilling.adapters.sqlalchemy.types import PlainText

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    """Add the column; links from before are proved as they were."""
    add_columns("seals", column("key_id", PlainText(), null=True))
