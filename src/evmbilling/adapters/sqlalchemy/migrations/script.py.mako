"""${message}."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.migrations.support import guard

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """${message}."""
    ${upgrades if upgrades else "guard()"}
