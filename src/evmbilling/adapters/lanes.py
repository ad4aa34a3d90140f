"""Lanes in threads: each lane of a call has one, and none waits for another.

A thread that hangs in foreign code cannot be ended, only left. It is a daemon, its result is ignored, and a lane with
too many of them is not given more until some come back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta

from attrs import define

from evmbilling.ports.lanes import Call, Finished

MOST_HANGING = 4
"""How many hanging threads a lane may leave behind before it rests."""


@define(eq=False)
class _Thread:
    """One lane under way. Written by its thread, read by the caller; each field changes in one step."""

    lane: str
    calls: Sequence[Call]
    until: float
    index: int = -1
    began: float = 0.0
    given_up: bool = False
    hanging: bool = False


class ThreadLanes:
    """Implements :class:`evmbilling.ports.lanes.Lanes`; safe for several dispatchers at once."""

    def __init__(self) -> None:
        self._hanging: Counter[str] = Counter()
        self._lock = threading.Lock()

    def has_room(self, lane: str) -> bool:
        """Whether fewer than ``MOST_HANGING`` threads hang in this lane."""
        with self._lock:
            return self._hanging[lane] < MOST_HANGING

    def run(self, lanes: Mapping[str, Sequence[Call]], budget: timedelta) -> Iterator[Sequence[Finished]]:
        """Run each lane in a thread of its own and yield what has ended."""
        until = time.monotonic() + budget.total_seconds()
        done: queue.SimpleQueue[Finished] = queue.SimpleQueue()
        running = {name: _Thread(name, calls, until) for name, calls in lanes.items() if calls}
        for thread in running.values():
            threading.Thread(target=self._work, args=(thread, done), name=f"lane-{thread.lane}", daemon=True).start()
        open_ = {(name, index) for name, thread in running.items() for index in range(len(thread.calls))}
        try:
            while open_:
                ended = _drain(done, _patience(running.values(), open_))
                ended = [one for one in ended if (one.lane, one.index) in open_]
                ended += self._give_up(running.values(), open_ - {(one.lane, one.index) for one in ended})
                open_ -= {(one.lane, one.index) for one in ended}
                if ended:
                    yield ended
        finally:
            with self._lock:
                for thread in running.values():
                    thread.given_up = True

    def _work(self, thread: _Thread, done: queue.SimpleQueue[Finished]) -> None:
        for index, call in enumerate(thread.calls):
            with self._lock:
                if thread.given_up:
                    break
                now = time.monotonic()
                if now > thread.until:
                    done.put(Finished(lane=thread.lane, index=index, begun=False))
                    continue
                thread.began, thread.index = now, index
            try:
                finished = Finished(lane=thread.lane, index=index, result=call.work())
            except BaseException as error:  # noqa: BLE001  - the caller's thread decides what to do with it
                finished = Finished(lane=thread.lane, index=index, error=error)
            done.put(finished)
        with self._lock:
            if thread.hanging:
                self._hanging[thread.lane] -= 1

    def _give_up(self, running: Collection[_Thread], open_: set[tuple[str, int]]) -> list[Finished]:
        """Leave lanes whose present call is overdue: that one failed, the ones behind it have not begun."""
        left: list[Finished] = []
        for thread in running:
            with self._lock:  # no call begins in here, so none begins that is told of as not begun
                index = thread.index
                if thread.given_up or (thread.lane, index) not in open_ or _seconds_left(thread) > 0:
                    continue
                thread.given_up = thread.hanging = True
                self._hanging[thread.lane] += 1
            left.append(Finished(lane=thread.lane, index=index, overdue=True))
            left += [Finished(lane=thread.lane, index=i, begun=False) for i in range(index + 1, len(thread.calls))]
        return left


def _seconds_left(thread: _Thread) -> float:
    if thread.index < 0:
        return 1.0
    return thread.began + thread.calls[thread.index].limit.total_seconds() - time.monotonic()


def _patience(running: Collection[_Thread], open_: set[tuple[str, int]]) -> float:
    """Return how long nothing can become overdue."""
    names = {name for name, _ in open_}
    left = [_seconds_left(thread) for thread in running if thread.lane in names and not thread.given_up]
    return max(0.0, min(left, default=0.0))


def _drain(done: queue.SimpleQueue[Finished], seconds: float) -> list[Finished]:
    """Wait for one result, then take all that are there."""
    ended: list[Finished] = []
    try:
        one = done.get(timeout=seconds) if seconds > 0 else done.get_nowait()
        while True:
            ended.append(one)
            one = done.get_nowait()
    except queue.Empty:
        return ended
