"""Statements straight to the driver: on connections that we opened, and on those only.

SQLAlchemy compiles the statement and knows the types; what it does at each execution besides (looking up the compiled
form, sorting names, describing the columns of the answer) costs more than the driver itself. Where somebody listens to
the statements of the engine, it executes them as ever.
"""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

from attrs import frozen
from sqlalchemy.exc import DBAPIError

from evmbilling.adapters.sqlalchemy.columnwise import column_reader, column_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.engine import Connection, Dialect, Engine

Rows = list[Any]
"""Named tuples with the columns of the answer."""

_FEW = 4
"""Rows below which columns are not worth while."""


def may_go_straight(engine: Engine) -> bool:
    """Whether connections of ours take positional parameters, and nobody listens to what they execute."""
    heard = engine.dispatch
    return bool(
        engine.dialect.positional
        and not heard.before_cursor_execute
        and not heard.after_cursor_execute
        and not heard.before_execute
        and not heard.after_execute
    )


def prefix_of(row: int) -> str:
    """Return what stands before the names of a row's parameters in a statement for several rows."""
    return f"p{row}_"


def place_of(name: str) -> tuple[int, str]:
    """Return the row and the column that a parameter is named after."""
    row, _, column = name[1:].partition("_")
    return int(row), column


class Driver:
    """The driver's cursor of one unit, opened when it is first needed.

    Its methods raise DBAPIError as SQLAlchemy does; a lost connection is invalidated.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._opened: Any = None

    @property
    def dialect(self) -> Dialect:
        """What the statements are compiled for."""
        return self._connection.dialect

    def fetch(self, text: str, parameters: Sequence[Any]) -> tuple[Sequence[Sequence[Any]], int]:
        """Execute a statement that answers with rows; return them and their number."""
        try:
            cursor = self._cursor()
            cursor.execute(text, parameters)
            return cursor.fetchall(), cursor.rowcount
        except BaseException as error:
            self._fail(error, text)
            raise

    def execute(self, text: str, parameters: Sequence[Any]) -> int:
        """Execute a statement; return how many rows it met."""
        try:
            cursor = self._cursor()
            cursor.execute(text, parameters)
            return int(cursor.rowcount)
        except BaseException as error:
            self._fail(error, text)
            raise

    def execute_many(self, text: str, rows: Iterable[Sequence[Any]]) -> int:
        """Execute a statement for each row; return how many rows it met in all."""
        try:
            cursor = self._cursor()
            cursor.executemany(text, rows)
            return int(cursor.rowcount)
        except BaseException as error:
            self._fail(error, text)
            raise

    def copy(self, text: str, kinds: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Send rows by COPY (PostgreSQL)."""
        try:
            with self._cursor().copy(text) as copy:
                copy.set_types(kinds)
                for row in rows:
                    copy.write_row(row)
        except BaseException as error:
            self._fail(error, text)
            raise

    def copy_written(self, text: str, parts: Iterable[bytes]) -> None:
        """Send rows by COPY that are written already, signature and end included (PostgreSQL)."""
        try:
            with self._cursor().copy(text) as copy:
                for part in parts:
                    copy.write(part)
        except BaseException as error:
            self._fail(error, text)
            raise

    def close(self) -> None:
        """Let go of the cursor."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _cursor(self) -> Any:
        if self._opened is None:
            self._opened = self._connection.connection.cursor()
        return self._opened

    def _fail(self, error: BaseException, text: str) -> None:
        """Raise what SQLAlchemy would raise; return for an error that is not the database's."""
        connection, cursor, self._opened = self._connection, self._opened, None
        dialect = connection.dialect
        if not isinstance(error, dialect.loaded_dbapi.Error):
            # An interrupt in the middle of an answer: nobody knows what the connection would say next.
            connection.invalidate(error)
            return
        lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor)
        if lost:
            connection.invalidate(error)
        elif cursor is not None:
            cursor.close()
        wrapped: BaseException = DBAPIError.instance(
            text,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        )
        raise wrapped from error


@frozen
class _Form:
    """A statement for lists of certain lengths.

    Attributes:
        text: as the driver gets it.
        names: of its parameters in their order.
        parts: for each list the names of its values.

    """

    text: str
    names: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]


class Straight:
    """One compiled statement: its text, how to write its parameters, how to read its rows."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        self._compiled: Any = statement.compile(dialect=dialect)
        binds = {name: bind for bind, name in self._compiled.bind_names.items()}
        self._constants = {name: bind.effective_value for name, bind in binds.items() if not bind.required}
        self._lists = {name: column_writer(b.type, dialect) for name, b in binds.items() if b.expanding}
        self._writers: dict[str, Callable[[Any], Any]] = {
            name: bind.type.bind_processor(dialect) or _as_is for name, bind in binds.items() if not bind.expanding
        }
        self._places: Sequence[tuple[int, str, Callable[[Any], Any]]] = ()
        self._forms: dict[tuple[int, ...], _Form] = {}
        columns = statement.selected_columns if statement.is_select else statement.exported_columns
        self._answers = len(columns) > 0
        # Columns may bear names that no attribute can have; those are read by their place.
        row = namedtuple("row", columns.keys(), rename=True)  # type: ignore[misc]  # noqa: PYI024  - a statement's columns
        self._make: Callable[[Sequence[Any]], Any] = row._make
        readers = [column.type.result_processor(dialect, None) for column in columns]
        self._readers = [(place, reader) for place, reader in enumerate(readers) if reader is not None]
        of_columns = [column_reader(column.type, dialect) for column in columns]
        self._column_readers = [(place, reader) for place, reader in enumerate(of_columns) if reader is not None]

    def run_rows(self, driver: Driver, rows: Sequence[Mapping[str, Any]]) -> tuple[Rows, int]:
        """Run a statement whose parameters are named after a row and a column, without lists; see :meth:`run`."""
        if not self._places:
            self._places = [(*place_of(name), self._writers[name]) for name in self._compiled.positiontup]
        written = [write(rows[row][name]) for row, name, write in self._places]
        return self._send(driver, self._compiled.string, written, self._make)

    def run(
        self, driver: Driver, values: Mapping[str, Any], *, make: Callable[[Sequence[Any]], Any] | None = None
    ) -> tuple[Rows, int]:
        """Return the rows of a SELECT or of RETURNING, and the number of rows that the driver counted.

        An IN list is padded with its last value to a power of two, so that few forms of the statement are prepared;
        it is not empty. ``make`` makes a row of its values; a named tuple without it.

        Raises:
            DBAPIError: as SQLAlchemy raises it; a lost connection is invalidated.
            InputError: a column type refuses a value.

        """
        given = {**self._constants, **values} if self._constants else values
        text, parameters = self._with_lists(given) if self._lists else self._without_lists(given)
        return self._send(driver, text, parameters, make or self._make)

    def _send(
        self, driver: Driver, text: str, parameters: Sequence[Any], make: Callable[[Sequence[Any]], Any]
    ) -> tuple[Rows, int]:
        if not self._answers:
            return [], driver.execute(text, parameters)
        found, met = driver.fetch(text, parameters)
        return self._read(found, make), met

    def _without_lists(self, given: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        writers = self._writers
        return self._compiled.string, [writers[name](given[name]) for name in self._compiled.positiontup]

    def _with_lists(self, given: Mapping[str, Any]) -> tuple[str, Sequence[Any]]:
        lists = {name: _padded(given[name]) for name in self._lists}
        form = self._form(given, lists)
        written = {name: write(given[name]) for name, write in self._writers.items()}
        for name, write_all in self._lists.items():
            written.update(zip(form.parts[name], write_all(lists[name]), strict=True))
        return form.text, [written[name] for name in form.names]

    def _form(self, given: Mapping[str, Any], lists: Mapping[str, Sequence[Any]]) -> _Form:
        lengths = tuple(map(len, lists.values()))
        if lengths not in self._forms:
            state = self._compiled.construct_expanded_state({**given, **lists})
            names = {name: tuple(parts) for name, parts in state.parameter_expansion.items()}
            self._forms[lengths] = _Form(state.statement, tuple(state.positiontup), names)
        return self._forms[lengths]

    def _read(self, found: Sequence[Sequence[Any]], make: Callable[[Sequence[Any]], Any]) -> Rows:
        if len(found) < _FEW:
            return [make(self._read_one(row)) for row in found]
        columns: list[Sequence[Any]] = list(zip(*found, strict=True))
        for place, read in self._column_readers:
            columns[place] = read(columns[place])
        return list(map(make, zip(*columns, strict=True)))

    def _read_one(self, row: Sequence[Any]) -> Sequence[Any]:
        read = list(row)
        for place, reader in self._readers:
            read[place] = reader(read[place])
        return read


def _padded(values: Sequence[Any]) -> Sequence[Any]:
    size = 1 << (len(values) - 1).bit_length()
    return [*values, *[values[-1]] * (size - len(values))]


def _as_is(value: Any) -> Any:
    return value
