"""Charges whose money became credit kept their subscriptions waiting for ever: the biller looks at each of them now."""

from __future__ import annotations

from alembic import op

from evmbilling.adapters.sqlalchemy.migrations.support import names

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    """Say when to look; the biller finds out the rest, and finds nothing to do where a charge is on its way indeed."""
    held, orders = names().qualified("subscriptions"), names().qualified("payment_transactions")
    receipts = names().qualified("payment_receipts")
    taken = (
        f"SELECT o.subscription_id FROM {orders} o JOIN {receipts} r ON r.ledger_id = o.ledger_id"  # noqa: S608  - ours
        " WHERE o.pull IN ('submitted', 'unknown') AND o.status IN ('submitted', 'unknown', 'confirming')"
        " AND o.subscription_id IS NOT NULL AND r.allocation IN ('credit', 'refunded', 'written_off')"
    )
    op.execute(
        f"UPDATE {held} SET look_at = created_at, version = version + 1"  # noqa: S608  - names of ours
        f" WHERE status NOT IN ('ended', 'incomplete_expired') AND subscription_id IN ({taken})"
    )
