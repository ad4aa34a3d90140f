"""Lists of what may be bound and sold in on a network, and the calls by which configured contracts give money back."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns
from evmbilling.adapters.sqlalchemy.tables.maker import column
from evmbilling.adapters.sqlalchemy.types import PlainText, StrictJson

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Add the columns; without a list everything may be bound, as before."""
    add_columns("contracts", column("refund_method", PlainText(), null=True))
    add_columns("networks", column("allowed", StrictJson(), null=True))
