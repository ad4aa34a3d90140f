"""Running the lanes of a dispatcher: calls of one lane in order, lanes beside each other, none waiting for another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from attrs import frozen


@frozen
class Call:
    """One call of a lane.

    Attributes:
        work: what to do; it may raise anything.
        limit: how long it may take.

    """

    work: Callable[[], object]
    limit: timedelta


@frozen(kw_only=True)
class Finished:
    """How a call ended: with a result, an error, neither in time (``overdue``), or not begun at all.

    A call is not begun when an earlier one of its lane was overdue, because the lane's thread may still be in it, or
    when the budget was used up.
    """

    lane: str
    index: int
    result: object = None
    error: BaseException | None = None
    overdue: bool = False
    begun: bool = True


class Lanes(Protocol):
    """Runs calls and keeps their time limits."""

    def has_room(self, lane: str) -> bool:
        """Whether the lane can take calls: not too many of its earlier ones still hang."""
        ...

    def run(self, lanes: Mapping[str, Sequence[Call]], budget: timedelta) -> Iterator[Sequence[Finished]]:
        """Run the calls of each lane in order; yield what has ended since, until every call has been told of once.

        No call begins later than ``budget`` after this one, by a clock that also goes on while the process is stopped:
        what the caller holds for so long is its own no longer. An iterator that is closed early begins no further call.
        """
        ...


class InlineLanes:
    """Runs one call after the other in the caller's thread: for simulations, where nothing hangs. No time limit."""

    def has_room(self, lane: str) -> bool:
        """Nothing is ever left behind."""
        del lane
        return True

    def run(self, lanes: Mapping[str, Sequence[Call]], budget: timedelta) -> Iterator[Sequence[Finished]]:
        """Run everything, lane by lane."""
        del budget
        for lane, calls in lanes.items():
            for index, call in enumerate(calls):
                yield [_ended(lane, index, call)]


def _ended(lane: str, index: int, call: Call) -> Finished:
    try:
        return Finished(lane=lane, index=index, result=call.work())
    except BaseException as error:  # noqa: BLE001  - handed to the dispatcher, which raises it when all is stored
        return Finished(lane=lane, index=index, error=error)
