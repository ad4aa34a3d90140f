"""Bindings: contracts that are bound by configuration, and the calls by which their orders are paid."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import add_columns, add_index
from evmbilling.adapters.sqlalchemy.tables.maker import column, index
from evmbilling.adapters.sqlalchemy.types import Octets, PlainText, StrictJson

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the columns; what is bound already is of a built-in kind, and no order has a call."""
    add_columns(
        "contracts",
        column("renew_method", PlainText(), null=True),
        column("permit_method", PlainText(), null=True),
        column("events", PlainText(), null=True),
        column("pins", StrictJson(), null=True),
    )
    add_columns("payment_transactions", column("call", StrictJson(), null=True), column("mark", Octets(32), null=True))
    add_index("payment_transactions", index("mark", "mark", where="mark IS NOT NULL"))
