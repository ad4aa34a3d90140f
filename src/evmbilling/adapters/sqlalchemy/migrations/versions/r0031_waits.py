"""What waits is found by how and for which height, whatever it is: a longer key cost each new item twice as much."""

from __future__ import annotations

from alembic import op

from evmbilling.adapters.sqlalchemy.migrations.support import add_index, names
from evmbilling.adapters.sqlalchemy.tables.maker import index

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Put the new index in the place of the old one; workers of the version before sort what they find by it."""
    add_index("intake_items", index("wait", "chain_id", "wait", "height", where="wait <> 'never'"))
    op.drop_index(
        names().table("ix_intake_items_waiting"), table_name=names().table("intake_items"), schema=names().schema
    )
