"""The file: connections, transactions, and its errors as those of evmbilling."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from evmbilling.errors import RetryTransaction, StorageError

TABLES = """
CREATE TABLE IF NOT EXISTS journal (seq INTEGER PRIMARY KEY, steps TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS instance (one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, owner TEXT NOT NULL, fence INTEGER NOT NULL,
    until TEXT NOT NULL) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS journal_stays BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS journal_remains BEFORE DELETE ON journal BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""
BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


class JournalFile:
    """One SQLite file, opened anew for each transaction.

    Attributes:
        open: how many connections are open now.

    """

    def __init__(self, path: str, *, lock_timeout: float) -> None:
        self._path = path
        self._lock_timeout = lock_timeout
        self.open = 0
        with self.connected() as connection:
            self.run(connection, "PRAGMA journal_mode = WAL")
            connection.executescript(TABLES)
            self.run(connection, "INSERT OR IGNORE INTO instance VALUES (1, ?)", (secrets.token_bytes(8),))

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Open a connection, and close it again whatever happens.

        Raises:
            RetryTransaction: another process or thread writes for longer than the lock timeout.
            StorageError: any other error of SQLite.

        """
        try:
            connection = sqlite3.connect(self._path, timeout=self._lock_timeout, isolation_level=None)
            self.open += 1
            try:
                yield connection
            finally:
                connection.close()
                self.open -= 1
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in BUSY:
                raise RetryTransaction("another unit writes: run your whole transaction again") from error
            raise StorageError(f"the file failed: {error}") from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that nobody else writes beside; it commits at the end, or leaves nothing."""
        with self.connected() as connection:
            self.run(connection, "PRAGMA synchronous = FULL")
            self.run(connection, "BEGIN IMMEDIATE")
            yield connection
            if connection.in_transaction:
                self.run(connection, "COMMIT")

    def run(self, connection: sqlite3.Connection, statement: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        """Execute one statement; return its rows. Everything goes through here."""
        return connection.execute(statement, values).fetchall()
