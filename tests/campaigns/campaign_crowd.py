"""Workers that are killed and paused at random."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Self

from attrs import define, field
from campaign_zygote import serve

import forks

KINDS = ("reader", "reader", "intake", "intake")


@define
class Crowd:
    """Two readers and two intakes, as processes of their own.

    Attributes:
        kills, pauses: how often one was killed, and stopped for a while.

    """

    url: str
    clock: str
    words: Path
    random: random.Random
    kills: int = 0
    pauses: int = 0
    _zygote: ForkServerProcess | None = None
    _pipe: Connection | None = None
    _pids: list[int] = field(factory=list)
    _stopped: dict[int, int] = field(factory=dict)

    def __enter__(self) -> Self:
        self._pipe, theirs = multiprocessing.Pipe()
        self._zygote = forks.begin(serve, self.url, self.clock, theirs, err=self.words)
        theirs.close()
        self._pids = [self._born(kind) for kind in KINDS]
        return self

    def __exit__(self, *_: object) -> None:
        if self._zygote is not None and self._pipe is not None:
            self._pipe.close()
            self._zygote.join(30)
            assert self._zygote.exitcode == 0

    def trouble(self) -> None:
        """Kill one and start another in its place, or stop one for some rounds; wake up who has slept long enough."""
        for place in [p for p, rounds in self._stopped.items() if rounds <= 0]:
            self._wake(place)
        self._stopped = {place: rounds - 1 for place, rounds in self._stopped.items()}
        place = self.random.randrange(len(KINDS))
        if self.random.random() < 0.5:
            os.kill(self._pids[place], signal.SIGKILL)
            self._stopped.pop(place, None)
            self._pids[place] = self._born(KINDS[place])
            self.kills += 1
        elif place not in self._stopped:
            os.kill(self._pids[place], signal.SIGSTOP)
            self._stopped[place] = self.random.choice((1, 3, 12, 30))
            self.pauses += 1

    def calm(self) -> None:
        """Let everybody work."""
        for place in list(self._stopped):
            self._wake(place)

    def _wake(self, place: int) -> None:
        del self._stopped[place]
        os.kill(self._pids[place], signal.SIGCONT)

    def _born(self, kind: str) -> int:
        assert self._pipe is not None
        self._pipe.send(kind)
        return int(self._pipe.recv())
