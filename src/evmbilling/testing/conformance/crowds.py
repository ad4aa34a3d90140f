"""Many threads at once, for tests of storage."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from threading import Barrier, Event
from typing import Any

from evmbilling.errors import Conflict, RetryTransaction

CROWD = 8
PATIENCE = 300


def again(work: Callable[[], Any], *, retry_on: tuple[type[Exception], ...] = (RetryTransaction,)) -> Any:
    """Do a whole transaction until the storage takes it, within reason."""
    for _ in range(PATIENCE):
        try:
            return work()
        except retry_on:
            continue
    return work()


def crowd(work: Callable[[int], Any], *, size: int = CROWD) -> list[Any]:
    """Let many threads do something at the same moment; return what each returned or raised."""
    barrier = Barrier(size)

    def start(number: int) -> Any:
        barrier.wait()
        try:
            return again(lambda: work(number))
        except Conflict as conflict:
            return conflict

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(start, range(size)))


@contextmanager
def hurried() -> Iterator[None]:
    """Let threads take turns as often as the interpreter can, so that one is caught between two steps of another."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def elsewhere(work: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Keep a unit open in another thread while the block runs."""
    entered, leave = Event(), Event()

    def hold() -> Any:
        with work() as unit:
            entered.set()
            leave.wait(30)
        return unit

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert entered.wait(30)
        try:
            yield
        finally:
            leave.set()
            held.result()
