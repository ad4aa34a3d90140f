"""Alembic's environment of the shop: it looks after the shop's tables and leaves billing's alone."""

from __future__ import annotations

from alembic import context
from examples.shop.tables import Base

from evmbilling.adapters.sqlalchemy.migrating import include_name

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    include_name=include_name(prefix="evmbilling_"),
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
