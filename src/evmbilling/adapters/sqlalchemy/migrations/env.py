"""What Alembic runs: it configures itself from what ``migrating`` hands over and never opens a connection."""

from __future__ import annotations

from alembic import context

from evmbilling.adapters.sqlalchemy.migrating import run_in

run_in(context)
