"""Wallets: on which chains a contract at the address vouched for its owner."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns
from evmbilling.adapters.sqlalchemy.tables.maker import column
from evmbilling.adapters.sqlalchemy.types import StrictJson

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the column; what was confirmed before counts everywhere, as it did."""
    add_columns("wallets", column("chains", StrictJson(), null=True))
