"""Reading again: which blocks below the cursor are read once more, beside the cursor."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from evmbilling.adapters.sqlalchemy.migrations.support import names
from evmbilling.adapters.sqlalchemy.types import Whole

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the two columns; nothing is to be read again."""
    for name in ("rescan_next", "rescan_last"):
        op.add_column(names().table("cursors"), sa.Column(name, Whole(), nullable=True), schema=names().schema)
