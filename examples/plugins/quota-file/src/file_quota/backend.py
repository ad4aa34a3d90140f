"""The backend: what is allowed by product, what was used by limit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from evmbilling.domain.messages.events import Event
from evmbilling.errors import InputError
from evmbilling.ports.quota import QuotaAnswer

REFUSED = QuotaAnswer(allowed=False, left=0)
TABLES = """
CREATE TABLE IF NOT EXISTS allowed (user_id TEXT, product TEXT, seq INTEGER NOT NULL, limits TEXT NOT NULL,
    PRIMARY KEY (user_id, product)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used (user_id TEXT, name TEXT, amount TEXT NOT NULL,
    PRIMARY KEY (user_id, name)) WITHOUT ROWID;
"""


class FileQuota:
    """Counts uses of limits (port :class:`evmbilling.ports.quota.QuotaBackend`), for threads and processes.

    A use is one ``BEGIN IMMEDIATE`` transaction: whoever else counts waits. Amounts are stored as text, because an
    integer of SQLite ends at 2**63. A file that cannot be read or written refuses every use.

    Args:
        path: the file.
        timeout: seconds to wait for others.

    """

    def __init__(self, path: str, *, timeout: float = 5.0) -> None:
        self._path = path
        self._timeout = timeout
        with self._open() as connection:
            connection.executescript(TABLES)

    def check(self, user_id: str, limit: str, amount: int = 1) -> QuotaAnswer:
        """Say whether ``amount`` more would fit; consumes nothing."""
        _whole(amount)
        try:
            with self._open() as connection:
                left = _left(connection, user_id, limit)
        except sqlite3.Error:
            return REFUSED
        return QuotaAnswer(allowed=amount <= left, left=left)

    def consume(self, user_id: str, limit: str, amount: int = 1) -> QuotaAnswer:
        """Take ``amount`` if it fits, whoever else asks meanwhile."""
        _whole(amount)
        try:
            with self._writing() as connection:
                left = _left(connection, user_id, limit)
                if amount > left:
                    return QuotaAnswer(allowed=False, left=left)
                total = _used(connection, user_id, limit) + amount
                connection.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?)", (user_id, limit, str(total)))
        except sqlite3.Error:
            return REFUSED
        return QuotaAnswer(allowed=True, left=left - amount)

    def plan_changed(self, event: Event) -> None:
        """Learn what a user may use of a product; what is older than what is known changes nothing.

        Raises:
            sqlite3.Error: it could not be kept; the delivery is tried again.

        """
        data = event.data
        limits = json.dumps(data["limits"] if data["new_plan"] is not None else {})
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO allowed VALUES (?, ?, ?, ?) ON CONFLICT (user_id, product) "
                "DO UPDATE SET seq = excluded.seq, limits = excluded.limits WHERE seq < excluded.seq",
                (data["user_id"], data["product"], event.seq, limits),
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path, timeout=self._timeout, isolation_level=None)) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")


def _left(connection: sqlite3.Connection, user_id: str, limit: str) -> int:
    """Return what is left: the most that any product allows, without what was used."""
    rows = connection.execute("SELECT limits FROM allowed WHERE user_id = ?", (user_id,))
    most = max((int(json.loads(limits).get(limit, 0)) for (limits,) in rows), default=0)
    return max(0, most - _used(connection, user_id, limit))


def _used(connection: sqlite3.Connection, user_id: str, limit: str) -> int:
    row = connection.execute("SELECT amount FROM used WHERE user_id = ? AND name = ?", (user_id, limit)).fetchone()
    return int(row[0]) if row else 0


def _whole(amount: object) -> None:
    if not isinstance(amount, int) or isinstance(amount, bool) or amount < 1:
        raise InputError("an amount is a whole number above zero", field="amount")
