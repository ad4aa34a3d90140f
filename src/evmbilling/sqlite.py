"""SQLite as a host uses it: ``evmbilling.sqlite.configure(engine)`` before the first connection."""

from __future__ import annotations

from evmbilling.adapters.sqlalchemy.pragmas import configure

__all__ = ["configure"]
