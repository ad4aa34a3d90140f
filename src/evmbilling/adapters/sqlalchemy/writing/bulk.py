"""Many rows of one change, straight to the driver: on connections that we opened, and on those only.

SQLite takes one prepared statement for all rows, new ones many at a step: between two steps the driver asks for the
interpreter again, and waits for whoever computes. PostgreSQL takes new rows by COPY, which spares the server a plan and
an executor for each, and changes of rows as one statement over arrays of columns.
"""

from __future__ import annotations

from itertools import count as counted
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from evmbilling.adapters.sqlalchemy.arrays import array_writer, stored_as, type_name
from evmbilling.adapters.sqlalchemy.binary_rows import binary_rows, can_write
from evmbilling.adapters.sqlalchemy.columnwise import Same, column_writer
from evmbilling.adapters.sqlalchemy.types import Octets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Protocol

    from sqlalchemy.engine import Dialect

    from evmbilling.adapters.sqlalchemy.straight import Driver
    from evmbilling.adapters.sqlalchemy.writing.changes import Change

    Write = Callable[[Driver], int]
    """Writes rows, and returns how many it met."""

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

        def prepared(self, columns: Mapping[str, Sequence[Any]]) -> Write:
            """Return what writes these rows, as often as it is called; nothing is left to compute then.

            Raises:
                InputError: a column type refuses a value.

            """
            ...


_STEPS: Final = (2_048, 256, 32)
"""Rows that SQLite is given at a step. The last step may have less: what is left out of it is cut off by a limit."""
_MANY: Final = 256
"""New rows from which on PostgreSQL is sent them as they are put together here, not value by value by the driver."""
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
        self._octets = [isinstance(compiled.binds[name].type, Octets) for name in names]
        self._row = f"({', '.join(repeat('?', len(names)))})"
        self._at_a_step = (
            not change.replaced and self._text.count("?") == len(names) and self._text.count(f"VALUES {self._row}") == 1
        )
        self._steps: dict[tuple[bool, ...], dict[int, tuple[str, str]]] = {}

    def run(self, driver: Driver, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write the rows."""
        return self.run_columns(driver, self._columns.named(rows))

    def run_columns(self, driver: Driver, columns: Mapping[str, Sequence[Any]]) -> int:
        """Write rows that are given as columns."""
        return self.prepared(columns)(driver)

    def prepared(self, columns: Mapping[str, Sequence[Any]]) -> Write:
        """Return what writes rows that are given as columns."""
        checked = self._columns.checked(columns)
        count = len(checked[0])
        if self._at_a_step and count >= _STEPS[-1]:
            steps = self._steps_of(checked, count)
            return lambda driver: sum(driver.execute(text, values) for text, values in steps)
        rows = list(zip(*checked, strict=True))
        return lambda driver: driver.execute_many(self._text, rows)

    def _steps_of(self, checked: Sequence[Sequence[Any]], count: int) -> list[tuple[str, list[Any]]]:
        """Return as few statements as can be, with their values."""
        same = tuple(isinstance(column, Same) for column in checked)
        given = [column.value for column in checked if isinstance(column, Same)]
        varying = [
            _cheap(column) if octets else column
            for column, octets, once in zip(checked, self._octets, same, strict=True)
            if not once
        ]
        width = len(varying)
        together: list[Any] = [None] * (width * count)
        for place, column in enumerate(varying):
            together[place::width] = column
        texts = self._texts(same)
        steps: list[tuple[str, list[Any]]] = []
        begin = 0
        while (left := count - begin) > 0:
            size = min((size for size in texts if size >= left), default=max(texts))
            whole, cut = texts[size]
            values = given + together[begin * width : (begin + size) * width]
            if size > left:
                values += [*repeat(None, (size - left) * width), left]
            steps.append((cut if size > left else whole, values))
            begin += size
        return steps

    def _texts(self, same: tuple[bool, ...]) -> Mapping[int, tuple[str, str]]:
        """Return the statements by their rows: for all of these, and for as many of them as its last parameter says.

        What is the same in each row is one parameter, before the others.
        """
        if same not in self._steps:
            shared, own = counted(1), counted(1 + sum(same))
            places = [next(shared if once else own) for once in same]
            first = f"({', '.join(f'?{place}' for place in places)})"
            # A mark without a number takes the one after the highest.
            more = f"({', '.join(f'?{place}' if once else '?' for place, once in zip(places, same, strict=True))})"
            self._steps[same] = {
                rows: self._of_rows(", ".join([first, *repeat(more, rows - 1)]))
                for rows in _STEPS
                if rows * (len(same) - sum(same)) + sum(same) < _MOST_VARIABLES
            }
        return self._steps[same]

    def _of_rows(self, rows: str) -> tuple[str, str]:
        # A condition, so that what stands after the limit is not taken for one of a join.
        cut = f"SELECT * FROM (VALUES {rows}) WHERE true LIMIT ?"  # noqa: S608  - marks only
        return self._text.replace(self._row, rows), self._text.replace(f"VALUES {self._row}", cut)


class _Copied:
    """New rows by COPY (PostgreSQL)."""

    def __init__(self, change: Change, dialect: Dialect) -> None:
        table, quote = change.table, dialect.identifier_preparer
        names = table.columns.keys()
        listed = ", ".join(quote.quote(name) for name in names)
        self._text = f"COPY {quote.format_table(table)} ({listed}) FROM STDIN (FORMAT BINARY)"
        self._kinds = [type_name(column.type) for column in table.columns]
        self._least = _MANY if can_write(self._kinds) else None
        self._columns = _Columns(names, [column.type for column in table.columns], dialect)

    def run(self, driver: Driver, rows: Sequence[Mapping[str, Any]]) -> int:
        """Write the rows."""
        return self.run_columns(driver, self._columns.named(rows))

    def run_columns(self, driver: Driver, columns: Mapping[str, Sequence[Any]]) -> int:
        """Write rows that are given as columns."""
        return self.prepared(columns)(driver)

    def prepared(self, columns: Mapping[str, Sequence[Any]]) -> Write:
        """Return what writes rows that are given as columns."""
        checked = self._columns.checked(columns)
        count = len(checked[0])
        ours = self._least is not None and count >= self._least
        parts, rows = (list(binary_rows(self._kinds, checked)), []) if ours else ([], list(zip(*checked, strict=True)))

        def write(driver: Driver) -> int:
            if ours:
                driver.copy_written(self._text, parts)
            else:
                driver.copy(self._text, self._kinds, rows)
            return count

        return write


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
        return self.prepared(columns)(driver)

    def prepared(self, columns: Mapping[str, Sequence[Any]]) -> Write:
        """Return what writes rows that are given as columns."""
        parts: list[list[Any]] = []
        for part in self._without_twins(self._columns.checked(columns)):
            arrays = [write(column) for write, column in zip(self._arrays, part, strict=True)]
            parts.append([arrays[place] for place in self._order])
        return lambda driver: sum(driver.execute(self._text, part) for part in parts)

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


def _cheap(column: Sequence[Any]) -> Sequence[Any]:
    """Return bytes as what the driver takes by itself: for every other object it looks for an adapter first.

    That takes four times as long as passing the value on.
    """
    distinct = set(column)
    if None in distinct:
        return column
    if 2 * len(distinct) > len(column):
        return list(map(bytearray, column))
    known = {value: bytearray(value) for value in distinct}
    return [known[value] for value in column]


def _given(kinds: Mapping[str, sa.Column[Any]]) -> Any:
    """Return the rows of some arrays as a table."""
    stored = {name: stored_as(column.type) for name, column in kinds.items()}
    arrays = [sa.bindparam(name, type_=postgresql.ARRAY(kind)) for name, kind in stored.items()]
    columns = [sa.column(name, kind) for name, kind in stored.items()]
    return sa.func.unnest(*arrays).table_valued(*columns).render_derived(name="given")
