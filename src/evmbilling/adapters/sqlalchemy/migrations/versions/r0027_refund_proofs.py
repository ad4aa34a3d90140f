"""The transactions that are named as what paid refunds in the chain's own coin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.migrations.support import create
from evmbilling.adapters.sqlalchemy.tables.maker import column, index, key, refers
from evmbilling.adapters.sqlalchemy.types import Octets, PlainText, UtcInstant, Whole, Word

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.migrations.support import Creator

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    """Make the table; refunds that were paid before it are named by whoever knows their transactions."""
    create(_proofs)


def _proofs(make: Creator) -> None:
    """Make the table of proofs."""
    make(
        "refund_proofs",
        column("chain_id", Whole()),
        column("tx_hash", Octets(32)),
        column("refund_id", PlainText()),
        column("state", Word("open", "settled", "refused")),
        column("reason", PlainText(), null=True),
        column("looks", Whole()),
        column("next_at", UtcInstant()),
        column("named_by", PlainText()),
        column("named_at", UtcInstant()),
        column("version", Whole()),
        key("chain_id", "tx_hash"),
        index("due", "chain_id", "next_at", where="state = 'open'"),
        index("refund", "refund_id"),
        refers(make.names, "refund_id", "refunds"),
    )
