"""Copying SQLite's log into its file beside the writer, who would else wait for it at a commit.

While evidence of a long range is written, each commit leaves its pages in the log, and whoever finds the log long
copies it: that is a wait for the disk in which nothing is written. Here another thread copies meanwhile; readers and
writers go on. What it does not reach in time, a commit copies as ever.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from threading import Lock, RLock
from typing import TYPE_CHECKING
from weakref import WeakSet

from sqlalchemy.exc import SQLAlchemyError

from evmbilling.adapters.sqlalchemy.pragmas import copy_log

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


class LogCopier:
    """Copies when it is told to, one copy at a time. Safe for threads, and for forks.

    Args:
        engine: of SQLite, on a file.

    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.begin_anew()
        _COPIERS.add(self)

    def begin_anew(self) -> None:
        """Have a thread of its own: at first, and in a process that was forked."""
        self._lock = RLock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evmbilling-log")
        self._copying: Future[None] | None = None

    def begin(self) -> None:
        """Begin to copy what was committed until now, unless it is at it."""
        with self._lock:
            if self._copying is None or self._copying.done():
                # What was committed is committed, whether or not a thread can be had, as it cannot while Python ends.
                with suppress(RuntimeError):
                    self._copying = self._thread.submit(self._copy)

    def close(self) -> None:
        """Wait for what it is at, and copy no more."""
        self._thread.shutdown(wait=True)

    def hold(self) -> None:
        """Wait until it is at nothing, and let it begin nothing until :meth:`go_on`."""
        self._lock.acquire()
        try:
            if self._copying is not None:
                wait([self._copying])
        except BaseException:
            self.go_on()
            raise

    def go_on(self) -> None:
        """Let it begin again."""
        self._lock.release()

    def _copy(self) -> None:
        beside = self._engine.pool.recreate()  # the pool's own connections are for units
        try:
            with suppress(SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error), closing(beside.connect()) as own:
                copy_log(own.dbapi_connection)
        finally:
            beside.dispose()


def _about_to_fork() -> None:
    """Let none copy meanwhile: the child would inherit SQLite's locks, and wait for ever."""
    _FORKING.acquire()
    for copier in list(_COPIERS):
        copier.hold()
        _HELD.append(copier)


def _forked_off() -> None:
    while _HELD:
        _HELD.pop().go_on()
    _FORKING.release()


def _forked() -> None:
    while _HELD:
        _HELD.pop().begin_anew()
    _FORKING.release()


_COPIERS: WeakSet[LogCopier] = WeakSet()
_FORKING = Lock()
"""One thread forks at a time, and holds every copier meanwhile."""
_HELD: list[LogCopier] = []
"""Those that wait while this process is forked."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_about_to_fork, after_in_parent=_forked_off, after_in_child=_forked)
