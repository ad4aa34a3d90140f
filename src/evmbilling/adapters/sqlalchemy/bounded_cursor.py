"""psycopg's cursor, after which a session that goes to sleep in its transaction is ended by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg import RawCursor

if TYPE_CHECKING:
    from collections.abc import Iterable


class BoundedCursor(RawCursor[Any]):
    """A cursor with PostgreSQL's own placeholders.

    ``executemany`` sends its rows as a pipeline that ends with a Flush behind the last Sync. Any message stops the
    server's ``idle_in_transaction_session_timeout``, and only an answer to a Sync starts it again: a worker that is
    stopped between its last rows and its COMMIT would keep its locks until it wakes.
    """

    def executemany(self, query: Any, params_seq: Iterable[Any], *, returning: bool = False) -> None:
        """Execute a statement for each row, and then one that has nothing to do."""
        super().executemany(query, params_seq, returning=returning)
        with self.connection.cursor() as other:
            other.execute("SELECT")
