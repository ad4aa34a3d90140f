"""Storage in SQLite and PostgreSQL, on connections of our own or in the host's transaction."""
