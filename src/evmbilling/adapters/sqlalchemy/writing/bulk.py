"""Many rows of one change, straight to the driver: on connections that we opened, and on those only.

SQLite takes one prepared statement for all rows. PostgreSQL takes new rows by COPY, which spares the server a plan and
an executor for each, and changes of rows as one statement over arrays of columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from evmbilling.adapters.sqlalchemy.arrays import array_writer, stored_as, type_name
from evmbilling.adapters.sqlalchemy.columnwise import column_writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Protocol

    from sqlalchemy.engine import Dialect

    from evmbilling.adapters.sqlalchemy.straight import Driver
    from evmbilling.adapters.sqlalchemy.writing.changes import Change

    class Bulk(Protocol):
        """A change for many rows."""

        def run(self, driver: Driver, rows: Sequence[Mapping[str, Any]]) -> int:
            """Write the rows in their order; return how many rows an UPDATE met.

            Raises:
                DBAPIError: as SQLAlchemy raises it.
                InputError: a column type refuses a value.

            """
            ...


def bulk_of(change: Change, dialect: Dialect) -> Bulk:
    """Return the way of this database to write many rows of a change."""
    if dialect.name != "postgresql":
        return _Many(change, dialect)
    return _Copied(change, dialect) if change.plain else _Unnested(change, dialect)


class _Columns:
    """How rows become columns that the driver can be given."""

    def __init__(self, names: Sequence[str], kinds: Sequence[Any], dialect: Dialect) -> None:
        self.names = names
        self._writers = [column_writer(kind, dialect) for kind in kinds]

    def of(self, rows: Sequence[Mapping[str, Any]]) -> list[Sequence[Any]]:
        """Return the checked columns of these rows."""
        return [write([row[name] for row in rows]) for name, write in zip(self.names, self._writers, strict=True)]


class _Many:
    """One statement, prepared once, for all rows (SQLite)."""

    def __init__(self, change: Change, dialect: Dialect) -> None:
        compiled: Any = change.statement.compile(dialect=dialect)
        self._text: str = compiled.string
        names = compiled.positiontup
        self._columns = _Columns(names, [compiled.binds[name].type for name in names], dialect)

    def run(self, driver: Driver, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write the rows."""
        columns = self._columns.of(rows)
        return driver.execute_many(self._text, zip(*columns, strict=True))


class _Copied:
    """New rows by COPY (PostgreSQL)."""

    def __init__(self, change: Change, dialect: Dialect) -> None:
        table, quote = change.table, dialect.identifier_preparer
        names = table.columns.keys()
        listed = ", ".join(quote.quote(name) for name in names)
        self._text = f"COPY {quote.format_table(table)} ({listed}) FROM STDIN (FORMAT BINARY)"
        self._kinds = [type_name(column.type) for column in table.columns]
        self._columns = _Columns(names, [column.type for column in table.columns], dialect)

    def run(self, driver: Driver, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write the rows."""
        columns = self._columns.of(rows)
        driver.copy(self._text, self._kinds, zip(*columns, strict=True))
        return len(rows)


class _Unnested:
    """One statement over arrays of columns (PostgreSQL); rows of one key are written one after the other."""

    def __init__(self, change: Change, dialect: Dialect) -> None:
        kinds = change.parameters
        compiled: Any = change.of_rows(_given(kinds)).compile(dialect=dialect)
        self._text: str = compiled.string
        self._order = [list(kinds).index(name) for name in compiled.positiontup]
        self._columns = _Columns(list(kinds), [column.type for column in kinds.values()], dialect)
        self._arrays = [array_writer(column.type) for column in kinds.values()]
        self._key = [place for place, name in enumerate(kinds) if name in change.key]

    def run(self, driver: Driver, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write the rows."""
        met = 0
        columns = self._columns.of(rows)
        for part in self._without_twins(columns):
            arrays = [write(column) for write, column in zip(self._arrays, part, strict=True)]
            met += driver.execute(self._text, [arrays[place] for place in self._order])
        return met

    def _without_twins(self, columns: Sequence[Sequence[Any]]) -> Iterator[Sequence[Sequence[Any]]]:
        """Take rows apart so that no part has two of one key: a statement writes each row once at most."""
        keys = list(zip(*(columns[place] for place in self._key), strict=True))
        if len(set(keys)) == len(keys):
            yield columns
            return
        turns: dict[Any, int] = {}
        turn_of = []
        for key in keys:
            turns[key] = turns.get(key, -1) + 1
            turn_of.append(turns[key])
        for turn in range(max(turn_of) + 1):
            places = [place for place, own in enumerate(turn_of) if own == turn]
            yield [[column[place] for place in places] for column in columns]


def _given(kinds: Mapping[str, sa.Column[Any]]) -> Any:
    """Return the rows of some arrays as a table."""
    stored = {name: stored_as(column.type) for name, column in kinds.items()}
    arrays = [sa.bindparam(name, type_=postgresql.ARRAY(kind)) for name, kind in stored.items()]
    columns = [sa.column(name, kind) for name, kind in stored.items()]
    return sa.func.unnest(*arrays).table_valued(*columns).render_derived(name="given")
