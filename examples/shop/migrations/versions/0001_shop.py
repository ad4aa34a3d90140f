"""Users and purchases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "users",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("password", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "purchases",
        sa.Column("once", sa.String, primary_key=True),
        sa.Column("user", sa.String, nullable=False),
        sa.Column("plan", sa.String, nullable=False),
        sa.Column("ledger_id", sa.String, nullable=False),
    )
