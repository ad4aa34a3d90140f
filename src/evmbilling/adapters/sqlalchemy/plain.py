"""Transactions of our own on SQLite, begun and ended by the driver alone.

SQLAlchemy's own begin and commit cost several times what the driver and the database do for a small transaction, and
its connection as much as either. Where somebody besides us listens to the engine, it connects, begins and commits as
ever. What it has to execute in between it still executes: it finds the transaction open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from evmbilling.adapters.sqlalchemy import pragmas
from evmbilling.adapters.sqlalchemy.straight import may_go_straight

if TYPE_CHECKING:
    from types import TracebackType

    from sqlalchemy.engine import Engine
    from sqlalchemy.pool import PoolProxiedConnection


class PlainTransaction:
    """A transaction for a block: committed at its end, rolled back when it raises.

    Args:
        engine: of SQLite.
        kind: ``IMMEDIATE`` to write, ``DEFERRED`` to read.
        durable: whether the commit waits for the disk; it does all the same where somebody else listens.

    """

    def __init__(self, engine: Engine, kind: str, *, durable: bool = True) -> None:
        self._engine = engine
        self._kind = kind
        self._durable = durable
        self._lent: _Lent | None = None
        self._connection: Connection

    def __enter__(self) -> Connection:
        """Take a connection and begin.

        Raises:
            SQLAlchemyError: as SQLAlchemy raises it.

        """
        if _is_only_ours(self._engine):
            lent = _lend(self._engine, self._kind, durable=self._durable)
            if lent is not None:
                self._lent = lent
                return cast("Connection", lent)
        self._connection = connection = self._engine.connect()
        try:
            connection.execution_options(**{pragmas.BEGIN_OPTION: self._kind})
            connection.begin()
        except BaseException:
            connection.close()
            raise
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit or roll back, and give the connection back.

        Raises:
            SQLAlchemyError: as SQLAlchemy raises it; nothing was kept.

        """
        if self._lent is not None:
            self._lent.end(kept=kind is None)
            return
        try:
            if kind is None:
                self._connection.commit()
        finally:
            self._connection.close()


class _Lent:
    """A connection of the pool inside a transaction; SQLAlchemy's own object for it is made when it is asked for more.

    It says by itself what statements that go straight to the driver need of a :class:`Connection`.
    """

    def __init__(self, engine: Engine, pooled: PoolProxiedConnection) -> None:
        self.engine = engine
        self.dialect: Any = engine.dialect
        self._pooled = pooled
        self._made: Connection | None = None

    def __getattr__(self, name: str) -> Any:
        if self._made is None:
            self._made = Connection(self.engine, connection=self._pooled)
        return getattr(self._made, name)

    @property
    def connection(self) -> PoolProxiedConnection:
        """What the pool lent."""
        return self._pooled if self._made is None else self._made.connection

    @property
    def invalidated(self) -> bool:
        """Whether the connection is lost."""
        return self._made is not None and self._made.invalidated

    def begin(self, kind: str, *, durable: bool) -> bool:
        """Begin; without durability the commit does not wait for the disk. False when it was refused."""
        raw: Any = self._pooled.dbapi_connection
        try:
            pragmas.slow_down(raw.execute, self._pooled.info)  # whoever had it before may have been interrupted
            if not durable:
                pragmas.hurry(raw, self._pooled.info)
        except self.dialect.loaded_dbapi.Error:
            return False
        return pragmas.begin_plainly(raw, self._pooled.info, kind)

    def end(self, *, kept: bool) -> None:
        """Commit or roll back, and give the connection back."""
        try:
            if kept:
                self._commit()
        finally:
            self._give_back()

    def _commit(self) -> None:
        made, dialect = self._made, self.dialect
        if made is not None and made.in_transaction():  # SQLAlchemy had something to execute
            made.commit()
            return
        try:
            dialect.do_commit(self.connection.dbapi_connection)
        except dialect.loaded_dbapi.Error as error:
            refused: BaseException = DBAPIError.instance(
                None, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, dialect=dialect
            )
            raise refused from error

    def _give_back(self) -> None:
        """Let go of the connection without what is not committed."""
        pooled = self._pooled
        raw: Any = pooled.dbapi_connection
        try:
            if raw is not None:  # a lost connection took its notes along
                pragmas.end_plainly(pooled.info)
                if raw.in_transaction:  # the pool of a host may be told to leave connections as they are
                    raw.rollback()
                pragmas.slow_down(raw.execute, pooled.info)
        except BaseException as error:
            pooled.invalidate(error)
            if not isinstance(error, self.dialect.loaded_dbapi.Error):
                raise
        finally:
            (self._made or pooled).close()


def _lend(engine: Engine, kind: str, *, durable: bool) -> _Lent | None:
    """Take a connection and begin; None where SQLAlchemy shall say what is wrong."""
    try:
        pooled = engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error:
        return None
    lent, begun = _Lent(engine, pooled), False
    try:
        begun = lent.begin(kind, durable=durable)
    finally:
        if not begun:
            lent.end(kept=False)
    return lent if begun else None


def _is_only_ours(engine: Engine) -> bool:
    """Whether nobody else hears of transactions, and the engine is one that :func:`pragmas.configure` made safe."""
    heard = engine.dispatch
    return (
        may_go_straight(engine)
        and not heard.engine_connect
        and not heard.commit
        and not heard.rollback
        and tuple(heard.begin) == (pragmas.begin_transaction,)
        and "isolation_level" not in engine.get_execution_options()
    )
