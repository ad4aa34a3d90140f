"""Many rows of one change, straight to the driver: on connections that we opened, and on those only.

SQLite takes one prepared statement for all rows, new ones many at a step: between two steps the driver asks for the
interpreter again, and waits for whoever computes. PostgreSQL takes new rows by COPY, which spares the server a plan and
an executor for each, and changes of rows as one statement over arrays of columns.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

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

        def run_columns(self, driver: Driver, columns: Mapping[str, Sequence[Any]]) -> int:
            """Do the same for rows that are given as columns, each under the name of its parameter."""
            ...


_STEPS: Final = (512, 32)
"""Rows that SQLite is given at a step; what is left goes one by one."""
_MOST_VARIABLES: Final = 32_766
"""Parameters of a statement, as SQLite is built since 3.32; tables that are STRICT need a newer one."""


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

    def named(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]]:
        """Return the columns of these rows."""
        return {name: [row[name] for row in rows] for name in self.names}

    def checked(self, columns: Mapping[str, Sequence[Any]]) -> list[Sequence[Any]]:
        """Return columns as the driver is given them, in their order."""
        return [write(columns[name]) for name, write in zip(self.names, self._writers, strict=True)]


class _Many:
    """One statement, prepared once, for all rows (SQLite)."""

    def __init__(self, change: Change, dialect: Dialect) -> None:
        compiled: Any = change.statement.compile(dialect=dialect)
        self._text: str = compiled.string
        names = compiled.positiontup
        self._columns = _Columns(names, [compiled.binds[name].type for name in names], dialect)
        row = f"({', '.join(repeat('?', len(names)))})"
        at_a_step = not change.replaced and self._text.count("?") == len(names) and self._text.count(row) == 1
        self._steps = {
            rows: self._text.replace(row, ", ".join(repeat(row, rows)))
            for rows in _STEPS
            if at_a_step and rows * len(names) <= _MOST_VARIABLES
        }

    def run(self, driver: Driver, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write the rows."""
        return self.run_columns(driver, self._columns.named(rows))

    def run_columns(self, driver: Driver, columns: Mapping[str, Sequence[Any]]) -> int:
        """Write rows that are given as columns."""
        checked = self._columns.checked(columns)
        width, count = len(checked), len(checked[0])
        together: list[Any] = [None] * (width * count)
        for place, column in enumerate(checked):
            together[place::width] = column
        met = begin = 0
        for size, text in self._steps.items():
            while count - begin >= size:
                met += driver.execute(text, together[begin * width : (begin + size) * width])
                begin += size
        if begin < count:
            met += driver.execute_many(self._text, zip(*(column[begin:] for column in checked), strict=True))
        return met


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
        return self.run_columns(driver, self._columns.named(rows))

    def run_columns(self, driver: Driver, columns: Mapping[str, Sequence[Any]]) -> int:
        """Write rows that are given as columns."""
        checked = self._columns.checked(columns)
        driver.copy(self._text, self._kinds, zip(*checked, strict=True))
        return len(checked[0])


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
        return self.run_columns(driver, self._columns.named(rows))

    def run_columns(self, driver: Driver, columns: Mapping[str, Sequence[Any]]) -> int:
        """Write rows that are given as columns."""
        met = 0
        for part in self._without_twins(self._columns.checked(columns)):
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
