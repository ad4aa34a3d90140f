"""Nodes: from which amount on several of them have to agree about a payment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from evmbilling.adapters.sqlalchemy.migrations.support import names
from evmbilling.adapters.sqlalchemy.types import StrictJson, Whole

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Networks that are there already believe one node, as they did."""
    table, schema = names().table("networks"), names().schema
    op.add_column(
        table, sa.Column("agreement_above", StrictJson(), nullable=False, server_default=sa.text("'[]'")), schema=schema
    )
    op.add_column(table, sa.Column("quorum", Whole(), nullable=False, server_default=sa.text("2")), schema=schema)
