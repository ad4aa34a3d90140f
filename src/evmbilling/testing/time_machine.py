"""A time machine: one clock drives everything, and the chains go with it.

::

    machine = TimeMachine(engine, clock, [chain])       # a FakeChain, or a running AnvilNode
    machine.advance(days=30)                            # clock and chain, then everything that follows from it
    machine.advance(days=365, every=timedelta(days=1))  # as if somebody had looked every day
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attrs import frozen

from evmbilling.errors import InputError
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.drain import Drainable, Drained, drain
from evmbilling.testing.fake_chain import FakeChain

if TYPE_CHECKING:
    from evmbilling.testing.anvil import AnvilNode


@frozen
class TimeMachine:
    """An engine with the clock that drives it and the chains that follow.

    Attributes:
        engine: built with this clock; its storage tells the same time, or the database's own.
        clock: moved by :meth:`advance` alone.
        chains: whose blocks get the clock's time.

    """

    engine: Drainable
    clock: FrozenClock
    chains: Sequence[FakeChain | AnvilNode]

    def advance(
        self,
        by: timedelta | None = None,
        *,
        every: timedelta | None = None,
        release: bool = False,
        dispatch: bool = False,
        **units: float,
    ) -> Drained:
        """Move clock and chains forward and let everything happen that follows; return what the last look did.

        What is pending on a chain is mined with the first of its new blocks.

        Args:
            by: how far; or ``units`` as ``timedelta`` takes them: ``advance(days=30)``.
            every: look so often on the way; only at the end when left out.
            release, dispatch: as :func:`evmbilling.testing.drain.drain`.

        Raises:
            InputError: nothing, both or a negative duration is given.
            NotSettled: as ``drain``.

        """
        if (by is None) == (not units):
            raise InputError("say how far, once: a timedelta, or units such as days=1", field="by")
        left = timedelta(**units) if by is None else by
        if left < timedelta() or (every is not None and every <= timedelta()):
            raise InputError("time goes forward", field="by")
        done = Drained()
        while True:
            step = left if every is None else min(every, left)
            self.move_to(self.clock.now() + step)
            done = drain(self.engine, release=release, dispatch=dispatch)
            left -= step
            if left <= timedelta():
                return done

    def move_to(self, instant: datetime) -> None:
        """Set the clock, and mine one block of that time on every chain; nothing else happens."""
        for chain in self.chains:
            if isinstance(chain, FakeChain):
                earliest = chain.head.timestamp + timedelta(seconds=1)
                chain.mine(timestamp=max(instant.replace(microsecond=0), earliest))
            else:
                latest = int((chain.block("latest") or {})["timestamp"], 16)
                chain.mine(timestamp=max(int(instant.timestamp()), latest + 1))
        self.clock.set(max([instant, *(_head_time(chain) for chain in self.chains)]))


def _head_time(chain: FakeChain | AnvilNode) -> datetime:
    if isinstance(chain, FakeChain):
        return chain.head.timestamp
    return datetime.fromtimestamp(int((chain.block("latest") or {})["timestamp"], 16), UTC)
