"""What the driver is really given, and the same again without anything around it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Self

import psycopg
import sqlalchemy as sa
from attrs import frozen
from bm_contenders import _connect

COMMIT = "COMMIT"
_READS = ("SELECT", "BEGIN", "SET", "PRAGMA", "SHOW")


@frozen
class Call:
    """One call of the driver.

    Attributes:
        rows: the parameters; of each row where the call is about many.
        way: ``execute``, ``many`` or ``copy``.
        kinds: types of the columns of a copy.
        met: how many rows one call changed.

    """

    text: str
    rows: Any = ()
    way: str = "execute"
    kinds: Sequence[str] = ()
    met: int = 0

    @property
    def writes(self) -> bool:
        """Whether it changes rows."""
        return self.text != COMMIT and not self.text.lstrip("( ").startswith(_READS)

    @property
    def count(self) -> int:
        """How many rows it is given, or changes."""
        return len(self.rows) if self.way != "execute" else max(self.met, 0)


class _Copy:
    """Notes what is copied."""

    def __init__(self, copy: Any, calls: list[Call], text: str) -> None:
        self._copy, self._calls, self._text = copy, calls, text
        self._rows: list[Any] = []
        self._kinds: Sequence[str] = ()

    def __enter__(self) -> Self:
        self._inner = self._copy.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        self._calls.append(Call(self._text, self._rows, "copy", self._kinds))
        return self._copy.__exit__(*error)

    def set_types(self, kinds: Sequence[str]) -> None:
        self._kinds = kinds
        self._inner.set_types(kinds)

    def write_row(self, row: Sequence[Any]) -> None:
        self._rows.append(row)
        self._inner.write_row(row)


def wired(engine: sa.Engine) -> list[Call]:
    """Collect every call on connections that the engine opens from now on, without listening to its statements."""
    calls: list[Call] = []

    class SqliteCursor(sqlite3.Cursor):
        def execute(self, text: str, parameters: Any = ()) -> Any:
            done = super().execute(text, parameters)
            calls.append(Call(text, parameters, met=self.rowcount))
            return done

        def executemany(self, text: str, rows: Any) -> Any:
            rows = list(rows)
            calls.append(Call(text, rows, "many"))
            return super().executemany(text, rows)

    class SqliteConnection(sqlite3.Connection):
        def cursor(self, factory: Any = SqliteCursor) -> Any:
            return super().cursor(factory)

    class PostgresCursor(psycopg.RawCursor):
        def execute(self, text: Any, parameters: Any = None, **options: Any) -> Any:
            done = super().execute(text, parameters, **options)
            calls.append(Call(text, parameters, met=self.rowcount))
            return done

        def copy(self, text: Any, *arguments: Any, **options: Any) -> Any:
            return _Copy(super().copy(text, *arguments, **options), calls, text)

    def connect(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        if engine.dialect.name == "sqlite":
            options["factory"] = SqliteConnection
        else:
            options["cursor_factory"] = PostgresCursor

    def commit(_connection: Any) -> None:
        calls.append(Call(COMMIT))

    sa.event.listen(engine, "do_connect", connect)
    sa.event.listen(engine, "commit", commit)
    return calls


class Wire:
    """The driver alone, on a database."""

    def __init__(self, url: str) -> None:
        self._connection = _connect(url)
        self._sqlite = isinstance(self._connection, sqlite3.Connection)

    def send(self, calls: Sequence[Call]) -> None:
        """Make these calls again and read the answers."""
        for call in calls:
            if call.text == COMMIT:
                self._connection.commit()
                continue
            cursor = self._connection.cursor() if self._sqlite else psycopg.RawCursor(self._connection)
            if call.way == "copy":
                with cursor.copy(call.text) as copy:
                    copy.set_types(call.kinds)
                    for row in call.rows:
                        copy.write_row(row)
            elif call.way == "many":
                cursor.executemany(call.text, call.rows)
            else:
                cursor.execute(call.text, call.rows)
                if cursor.description is not None:
                    cursor.fetchall()

    def begin(self) -> None:
        """Begin a transaction where the driver would commit every row by itself."""
        if self._sqlite:
            self._connection.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """End the connection."""
        self._connection.commit()
        self._connection.close()
