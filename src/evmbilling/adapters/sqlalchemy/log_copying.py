"""Copying SQLite's log into its file beside the writer, who would else wait for it at a commit.

While evidence of a long range is written, each commit leaves its pages in the log, and whoever finds the log long
copies it: that is a wait for the disk in which nothing is written. Here another thread copies meanwhile; readers and
writers go on. What it does not reach in time, a commit copies as ever.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from evmbilling.adapters.sqlalchemy.pragmas import copy_log

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


class LogCopier:
    """Copies when it is told to; one thread tells it, that of the unit which has just ended.

    Args:
        engine: of SQLite, on a file.

    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evmbilling-log")
        self._copying: Future[None] | None = None

    def begin(self) -> None:
        """Begin to copy what was committed until now, unless it is at it."""
        if self._copying is None or self._copying.done():
            # What was committed is committed, whether or not a thread can be had, as it cannot while Python ends.
            with suppress(RuntimeError):
                self._copying = self._thread.submit(self._copy)

    def rest(self) -> None:
        """Wait until it is at nothing."""
        if self._copying is not None:
            wait([self._copying])

    def close(self) -> None:
        """Wait for what it is at."""
        self._thread.shutdown(wait=True)

    def _copy(self) -> None:
        beside = self._engine.pool.recreate()  # the pool's own connections are for units
        try:
            with suppress(SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error), closing(beside.connect()) as own:
                copy_log(own.dbapi_connection)
        finally:
            beside.dispose()
