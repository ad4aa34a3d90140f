"""The statements of a checkout, straight to the driver: on connections that we opened, and on those only.

SQLAlchemy compiles the statement and knows the types; what it does at each execution besides (looking up the compiled
form, sorting names, describing the columns of the answer) costs more than the driver itself. Where somebody listens to
the statements of the engine, it executes them as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.engine import Connection, Dialect

Rows = list[tuple[Any, ...]]


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


class Straight:
    """One compiled statement: its text, how to write its parameters, how to read its rows."""

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self._text: str = compiled.string
        binds = compiled.binds
        self._constants = {name: bind.effective_value for name, bind in binds.items() if not bind.required}
        self._writers = [(name, binds[name].type.bind_processor(dialect) or _as_is) for name in compiled.positiontup]
        columns = statement.selected_columns if statement.is_select else statement.exported_columns
        self._answers = len(columns) > 0
        readers = [column.type.result_processor(dialect, None) for column in columns]
        self._readers = [(place, reader) for place, reader in enumerate(readers) if reader is not None]

    def run(self, connection: Connection, values: Mapping[str, Any]) -> tuple[Rows, int]:
        """Return the rows of a SELECT or of RETURNING, and the number of rows that the driver counted.

        Raises:
            DBAPIError: as SQLAlchemy raises it; a lost connection is invalidated.
            InputError: a column type refuses a value.

        """
        given = {**self._constants, **values}
        parameters = tuple([write(given[name]) for name, write in self._writers])
        cursor = connection.connection.cursor()
        try:
            cursor.execute(self._text, parameters)
            found = cursor.fetchall() if self._answers else ()
            met = cursor.rowcount
        except connection.dialect.loaded_dbapi.Error as error:
            raise self._wrapped(error, connection, cursor) from error
        except BaseException as error:
            # An interrupt in the middle of an answer: nobody knows what the connection would say next.
            connection.invalidate(error)
            raise
        finally:
            cursor.close()
        return [self._read(row) for row in found], met

    def _read(self, row: Sequence[Any]) -> tuple[Any, ...]:
        read = list(row)
        for place, reader in self._readers:
            read[place] = reader(read[place])
        return tuple(read)

    def _wrapped(self, error: Any, connection: Connection, cursor: Any) -> BaseException:
        dialect = connection.dialect
        lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, cursor)
        if lost:
            connection.invalidate(error)
        wrapped: BaseException = DBAPIError.instance(
            self._text,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        )
        return wrapped


def _as_is(value: Any) -> Any:
    return value
