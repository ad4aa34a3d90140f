"""Statements straight to the driver: on connections that we opened, and on those only.

SQLAlchemy compiles the statement and knows the types; what it does at each execution besides (looking up the compiled
form, sorting names, describing the columns of the answer) costs more than the driver itself. Where somebody listens to
the statements of the engine, it executes them as ever.
"""

from __future__ import annotations

from collections import namedtuple
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import frozen
from sqlalchemy.exc import DBAPIError

from evmbilling.adapters.sqlalchemy.columnwise import Convert, column_reader, column_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection, Dialect

Rows = list[Any]
"""Named tuples with the columns of the answer."""

_FEW = 4
"""Rows below which columns are not worth while."""


def may_go_straight(connection: Connection) -> bool:
    """Whether a connection of ours takes positional parameters, and nobody listens to what it executes."""
    heard = connection.engine.dispatch
    return bool(
        connection.dialect.positional
        and not heard.before_cursor_execute
        and not heard.after_cursor_execute
        and not heard.before_execute
        and not heard.after_execute
    )


@contextmanager
def driver_cursor(connection: Connection, text: str) -> Iterator[Any]:
    """Give a cursor of the driver for one statement.

    Raises:
        DBAPIError: as SQLAlchemy raises it; a lost connection is invalidated.

    """
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(error, text, connection, cursor) from error
    except BaseException as error:
        # An interrupt in the middle of an answer: nobody knows what the connection would say next.
        connection.invalidate(error)
        raise
    finally:
        cursor.close()


def _wrapped(error: Any, text: str, connection: Connection, cursor: Any) -> BaseException:
    dialect = connection.dialect
    lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor)
    if lost:
        connection.invalidate(error)
    wrapped: BaseException = DBAPIError.instance(
        text,
        None,
        error,
        dialect.loaded_dbapi.Error,
        hide_parameters=True,
        connection_invalidated=lost,
        dialect=dialect,
    )
    return wrapped


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
        self._forms: dict[tuple[int, ...], _Form] = {}
        columns = statement.selected_columns if statement.is_select else statement.exported_columns
        self._answers = len(columns) > 0
        # Columns may bear names that no attribute can have; those are read by their place.
        self._row: Any = namedtuple("row", columns.keys(), rename=True)  # noqa: PYI024  - the columns are a statement's
        readers = [column.type.result_processor(dialect, None) for column in columns]
        self._readers = [(place, reader) for place, reader in enumerate(readers) if reader is not None]
        self._column_readers: list[tuple[int, Convert]] = [
            (place, reader) for place, c in enumerate(columns) if (reader := column_reader(c.type, dialect)) is not None
        ]

    def run(self, connection: Connection, values: Mapping[str, Any]) -> tuple[Rows, int]:
        """Return the rows of a SELECT or of RETURNING, and the number of rows that the driver counted.

        An IN list is padded with its last value to a power of two, so that few forms of the statement are prepared;
        it is not empty.

        Raises:
            DBAPIError: as SQLAlchemy raises it; a lost connection is invalidated.
            InputError: a column type refuses a value.

        """
        given = {**self._constants, **values}
        lists = {name: _padded(given[name]) for name in self._lists}
        form = self._form(given, lists)
        written = {name: write(given[name]) for name, write in self._writers.items()}
        for name, write_all in self._lists.items():
            written.update(zip(form.parts[name], write_all(lists[name]), strict=True))
        parameters = tuple([written[name] for name in form.names])
        with driver_cursor(connection, form.text) as cursor:
            cursor.execute(form.text, parameters)
            found = cursor.fetchall() if self._answers else ()
            met = cursor.rowcount
        return self._read(found), met

    def _form(self, given: Mapping[str, Any], lists: Mapping[str, Sequence[Any]]) -> _Form:
        lengths = tuple(map(len, lists.values()))
        if lengths not in self._forms:
            state = self._compiled.construct_expanded_state({**given, **lists})
            names = {name: tuple(parts) for name, parts in state.parameter_expansion.items()}
            self._forms[lengths] = _Form(state.statement, tuple(state.positiontup), names)
        return self._forms[lengths]

    def _read(self, found: Sequence[Sequence[Any]]) -> Rows:
        make = self._row._make
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
