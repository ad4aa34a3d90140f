"""What all roles of a unit share: its connection, for as long as it is open."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from evmbilling.adapters.sqlalchemy.joining import bounded_locks
from evmbilling.adapters.sqlalchemy.straight import Driver, Straight, may_go_straight
from evmbilling.adapters.sqlalchemy.types import PlainText
from evmbilling.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection, CursorResult, Row
    from sqlalchemy.sql import Executable

    from evmbilling.adapters.sqlalchemy.statements import Statements
    from evmbilling.adapters.sqlalchemy.straight import Rows

CHUNK = 5000
"""Values in one IN list: SQLite binds 32,766 at most, PostgreSQL 65,535."""

UNKNOWN = object()
"""Nothing was read ahead; ``None`` is an answer."""


class Session:
    """One open unit on one connection."""

    def __init__(
        self, connection: Connection, statements: Statements, *, write: bool, host_lock_timeout: float | None = None
    ) -> None:
        """Open a unit.

        Args:
            connection: inside a transaction.
            statements: built for this database, prefix and schema.
            write: whether anything may be locked or written.
            host_lock_timeout: seconds to wait for a lock on a host's connection; ours are bounded already.

        """
        self._connection = connection
        self._statements = statements
        self._write = write
        self._host_lock_timeout = host_lock_timeout
        self._settings: ExitStack | None = None
        self._prepared = False
        self._closed: str | None = None
        straight = host_lock_timeout is None and may_go_straight(connection.engine)
        self._driver = Driver(connection) if straight else None
        self._foreseen: dict[tuple[object, ...], Any] = {}

    def finish(self) -> None:
        """End the unit before its commit: give the host's settings back.

        Raises:
            StorageError: what failed could not be undone alone, so the rest must not be committed.

        """
        if self._closed is not None:
            raise StorageError(self._closed)
        if self._settings is not None:
            self._settings.close()

    def end(self) -> None:
        """Refuse whatever is asked of the unit from now on."""
        self._closed = self._closed or "this unit has ended"
        if self._driver is not None:
            self._driver.close()

    def _begin_writing(self) -> None:
        """Get ready to lock or write: bound the waits, and on SQLite become the one writer.

        Raises:
            StorageError: the unit only reads.

        """
        if not self._write:
            raise StorageError("this unit was opened to read")
        if self._prepared or self._host_lock_timeout is None:
            return
        self._prepared = True
        self._settings = ExitStack()
        self._settings.enter_context(bounded_locks(self._connection, self._host_lock_timeout))
        if self._connection.dialect.name == "sqlite":
            # The host's transaction may be a deferred one. A write that touches no row takes the write lock now,
            # with the busy timeout; after a read it would be refused at once.
            self._run(self._statements.take_write_lock)

    def _run(
        self, statement: Executable, values: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        with self._told():
            return self._connection.execute(statement, values)

    def _rows(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Any]:
        """Run a statement that was built once and return its rows; each has its columns as attributes."""
        if self._driver is None or _has_empty_list(values):
            return self._run(statement, values).all()
        return self._run_straight(self._driver, statement, values)[0]

    def _count(self, statement: Executable, values: Mapping[str, Any]) -> int:
        """Run a statement that was built once and return how many rows it met."""
        if self._driver is None or _has_empty_list(values):
            return self._run(statement, values).rowcount
        return self._run_straight(self._driver, statement, values)[1]

    def _run_straight(self, driver: Driver, statement: Executable, values: Mapping[str, Any]) -> tuple[Rows, int]:
        self._check_open()
        try:  # a block of its own would cost as much as the statement
            return self._straight(driver, statement).run(driver, values)
        except BaseException as error:
            self._tell(error)
            raise

    def _straight(self, driver: Driver, statement: Executable) -> Straight:
        straight = self._statements.straight
        known = straight.get(statement)
        if known is None:
            known = straight[statement] = Straight(statement, driver.dialect)
        return known

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say what a failing statement means, and end the unit with it."""
        self._check_open()
        try:
            yield
        except BaseException as error:
            self._tell(error)
            raise

    def _check_open(self) -> None:
        if self._closed is not None:
            raise StorageError(self._closed)

    def _tell(self, error: BaseException) -> None:
        """Raise what an error means, if it is the database's, and end the unit if its transaction ended."""
        if isinstance(error, SQLAlchemyError):
            meaning = self._statements.meaning(error)
            if meaning is None:
                return
            if isinstance(error, DBAPIError):
                # PostgreSQL answers the COMMIT of a failed transaction with a silent rollback: refuse it here.
                self._closed = "a statement failed in this unit; nothing of it is kept"
            raise meaning from error
        if self._connection.invalidated:
            # An interrupt in the middle of an answer: on another connection this would be another transaction.
            self._closed = "a statement was interrupted in this unit; nothing of it is kept"

    def _ahead(self, *question: object) -> Any:
        """Return the answer that was read ahead, or ``UNKNOWN``."""
        return UNKNOWN if self._closed is not None else self._foreseen.get(question, UNKNOWN)

    def _one(self, statement: Executable, **values: Any) -> Any:
        """Return the only row that a statement finds, which was built once; None when it finds none."""
        rows = self._rows(statement, values)
        if len(rows) > 1:
            raise StorageError("what there can be only one of was found twice")
        return rows[0] if rows else None

    def _all(self, statement: Executable, **values: Any) -> Sequence[Any]:
        """Return the rows of a statement that was built once."""
        return self._rows(statement, values)

    def _tuples(self, statement: Executable, **values: Any) -> Sequence[Any]:
        """Return the rows of a statement that was built once as plain tuples: for thousands, which cost less so."""
        if self._driver is None or _has_empty_list(values):
            return [tuple(row) for row in self._run(statement, values)]
        with self._told():
            return self._straight(self._driver, statement).run(self._driver, values, make=tuple)[0]

    def _composed(self, statement: Executable, **values: Any) -> Sequence[Row[Any]]:
        """Return the rows of a statement that was put together for one question."""
        return self._run(statement, values).all()

    def _in(self, statement: Executable, name: str, wanted: Collection[Any], **values: Any) -> Iterator[Any]:
        """Run a statement with an IN list, in chunks of distinct sorted values."""
        distinct = sorted(set(wanted))
        for start in range(0, len(distinct), CHUNK):
            yield from self._rows(statement, {name: distinct[start : start + CHUNK], **values})


def _has_empty_list(values: Mapping[str, Any]) -> bool:
    """Whether an IN list has no values, which a form with places for them cannot say."""
    return any(value == [] for value in values.values())


def several(name: str) -> sa.BindParameter[Any]:
    """Return the parameter of an IN list."""
    return sa.bindparam(name, expanding=True)


def any_word(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Compare a column of words with any text: a word that no row can hold finds nothing."""
    return sa.type_coerce(column, PlainText())


def plus(left: sa.ColumnElement[Any], right: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Add two columns of a number type of ours; a plain ``+`` would join them, because those types stand on text."""
    return left.op("+", return_type=left.type)(right)
