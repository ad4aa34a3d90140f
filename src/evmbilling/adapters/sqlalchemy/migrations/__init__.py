"""Alembic migrations of our own tables, apart from the host's: own folder, own version table."""
