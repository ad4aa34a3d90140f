"""Claims: what is due is found by how it waits and up to which height, however much waits for a height to come."""

from __future__ import annotations

from alembic import op

from evmbilling.adapters.sqlalchemy.migrations.support import add_index, names
from evmbilling.adapters.sqlalchemy.tables.maker import index

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Put the new index in the place of the old one."""
    columns = ("chain_id", "wait", "height", "tx_hash", "ordinal")
    add_index("intake_items", index("waiting", *columns, where="wait <> 'never'"))
    op.drop_index(names().table("ix_intake_items_due"), table_name=names().table("intake_items"), schema=names().schema)
