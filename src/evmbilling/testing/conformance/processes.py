"""Several processes that do the same at the same moment, for standard tests of what is shared between them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

Open = Callable[[], Any]
Work = Callable[[Any, int], Any]
PATIENCE = 60
"""Seconds after which a process is taken for lost."""


def _context() -> Any:
    return multiprocessing.get_context("forkserver" if sys.platform.startswith("linux") else "spawn")


def _live(pipe: Connection, reopen: Open, work: Work, number: int) -> None:
    """Open, say so, wait for the word, work, and tell what came of it."""
    opened = reopen()
    try:
        pipe.send("ready")
        pipe.recv()
        try:
            pipe.send(("returned", work(opened, number)))
        except Exception as error:  # noqa: BLE001  - whatever it was, the test judges it
            pipe.send(("raised", f"{type(error).__name__}: {error}"))
    finally:
        close = getattr(opened, "close", None)
        if close is not None:
            close()


def in_processes(reopen: Open, work: Work, *, size: int = 3) -> list[Any]:
    """Let several processes do something at the same moment; return what each returned.

    Args:
        reopen: opens what they share; can be pickled.
        work: a function of a module, called with what was opened and the number of the process.
        size: how many.

    """
    context = _context()
    started = []
    for number in range(size):
        ours, theirs = context.Pipe()
        process = context.Process(target=_live, args=(theirs, reopen, work, number))
        process.start()
        theirs.close()
        started.append((process, ours))
    for _, pipe in started:
        _hear(pipe)
    for _, pipe in started:
        pipe.send("go")
    said = [_hear(pipe) for _, pipe in started]
    for process, pipe in started:
        process.join(PATIENCE)
        pipe.close()
    failed = [words for outcome, words in said if outcome == "raised"]
    assert failed == [], f"a process failed: {failed}"
    return [words for _, words in said]


@contextmanager
def held_by_a_process(reopen: Open, work: Callable[[Any, Callable[[], None]], Any]) -> Iterator[Callable[[], None]]:
    """Let a process do something until it says that it is there; yield what kills it (SIGKILL) and waits for its end.

    Args:
        reopen: opens what is shared; can be pickled.
        work: a function of a module, called with what was opened and with what says "I am there", which never returns.

    """
    context = _context()
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(theirs, reopen, work))
    process.start()
    theirs.close()

    def kill() -> None:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join(PATIENCE)

    try:
        assert _hear(ours) == "there"
        yield kill
    finally:
        kill()
        ours.close()


def _hold(pipe: Connection, reopen: Open, work: Callable[[Any, Callable[[], None]], Any]) -> None:
    def there() -> None:
        pipe.send("there")
        pipe.recv()  # nobody ever answers

    try:
        work(reopen(), there)
    except EOFError:
        return
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise


def _hear(pipe: Connection) -> Any:
    assert pipe.poll(PATIENCE), "a process said nothing; does `reopen` open the database in another process?"
    try:
        return pipe.recv()
    except EOFError:
        raise AssertionError("a process ended before it answered; can `reopen` be pickled, and does it open?") from None
