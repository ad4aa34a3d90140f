"""The mark by which the end of a membership is found whose token the contract has numbered itself."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns, add_index
from evmbilling.adapters.sqlalchemy.tables.maker import column, index
from evmbilling.adapters.sqlalchemy.types import Octets

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Add the column and its index; no binding could end such a membership before."""
    add_columns("refunds", column("burn_mark", Octets(32), null=True))
    add_index("refunds", index("burn_mark", "burn_mark", where="burn_mark IS NOT NULL"))
