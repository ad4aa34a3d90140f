"""Transactions of our own on SQLite, begun and ended by the driver alone.

SQLAlchemy's own begin and commit cost several times what the driver and the database do for a small transaction. Where
somebody besides us listens to the engine, it begins and commits as ever. What it has to execute in between it still
executes: it finds the transaction open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from evmbilling.adapters.sqlalchemy import pragmas
from evmbilling.adapters.sqlalchemy.straight import may_go_straight

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy.engine import Connection, Engine


class PlainTransaction:
    """A transaction for a block: committed at its end, rolled back when it raises.

    Args:
        engine: of SQLite.
        kind: ``IMMEDIATE`` to write, ``DEFERRED`` to read.

    """

    def __init__(self, engine: Engine, kind: str) -> None:
        self._engine = engine
        self._kind = kind
        self._plain = False

    def __enter__(self) -> Connection:
        """Take a connection and begin.

        Raises:
            SQLAlchemyError: as SQLAlchemy raises it.

        """
        self._connection = connection = self._engine.connect()
        try:
            self._plain = _is_only_ours(connection) and pragmas.begin_plainly(connection, self._kind)
            if not self._plain:
                connection.execution_options(**{pragmas.BEGIN_OPTION: self._kind})
                connection.begin()
        except BaseException:
            self._give_back(connection)
            raise
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit or roll back, and give the connection back.

        Raises:
            SQLAlchemyError: as SQLAlchemy raises it; nothing was kept.

        """
        connection = self._connection
        try:
            if kind is None:
                self._commit(connection)
        finally:
            self._give_back(connection)

    def _give_back(self, connection: Connection) -> None:
        """Let go of the connection, which rolls back what is not committed."""
        try:
            pragmas.end_plainly(connection)
        finally:
            connection.close()

    def _commit(self, connection: Connection) -> None:
        if connection.in_transaction():  # SQLAlchemy had something to execute, or did the whole
            connection.commit()
            return
        dialect: Any = connection.dialect
        try:
            dialect.do_commit(connection.connection)
        except dialect.loaded_dbapi.Error as error:
            refused: BaseException = DBAPIError.instance(
                None, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, dialect=dialect
            )
            raise refused from error


def _is_only_ours(connection: Connection) -> bool:
    """Whether nobody else hears of transactions, and the engine is one that :func:`pragmas.configure` made safe."""
    heard = connection.engine.dispatch
    return (
        may_go_straight(connection)
        and not heard.commit
        and not heard.rollback
        and tuple(heard.begin) == (pragmas.begin_transaction,)
        and "isolation_level" not in connection.get_execution_options()
    )
