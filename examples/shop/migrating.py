"""Both sets of tables, side by side in one database: the shop's by the shop's migrations, billing's by its own."""

from __future__ import annotations

import sys

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from evmbilling.adapters.sqlalchemy import migrating as billing


def migrate(engine: sa.Engine) -> None:
    """Bring everything up to date in one transaction."""
    with engine.begin() as connection:
        billing.upgrade(connection)
        command.upgrade(config(connection), "head")


def check(engine: sa.Engine) -> None:
    """Raise when the shop's tables are not what its models say; billing's tables are not the shop's business."""
    with engine.begin() as connection:
        command.check(config(connection))


def config(connection: sa.Connection) -> Config:
    """Return Alembic's configuration for the shop's own migrations on a connection."""
    made = Config(stdout=sys.stdout)  # what is that now, not what it was when Alembic was imported
    made.set_main_option("script_location", f"{__package__}:migrations")
    made.attributes["connection"] = connection
    return made
