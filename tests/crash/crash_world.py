"""The world outside the database, which remembers what happened in it whoever dies: a chain and a receiver."""

from __future__ import annotations

import base64
import os
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evmbilling.domain.messages.delivery import SinkProfile
from evmbilling.domain.messages.events import Event
from evmbilling.ports.crash import crash_point
from evmbilling.testing.fake_chain import FakeChain

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
CHAIN_ID = 31337
SEEN = ("check_chain", "tip", "header", "headers", "common_ancestor", "logs", "scan", "balance")


class World:
    """A chain whose transactions and blocks are kept in a file, so that a fresh process finds the same one.

    Args:
        folder: where the files are.
        ahead: seconds that the clock is ahead of the chain: how long it took until somebody started a process again.

    Attributes:
        done: what was done, by name, with the answers.

    """

    def __init__(self, folder: Path, *, ahead: int = 0) -> None:
        self.chain = self.make_chain()
        self._ahead = timedelta(seconds=ahead)
        self._file = folder / "world"
        self.done: dict[str, list[Any]] = {}
        if self._file.exists():
            for line in self._file.read_text().splitlines():
                # Written by ourselves a moment ago.
                name, calls = pickle.loads(base64.b64decode(line))
                self._play(name, calls)

    def make_chain(self) -> FakeChain:
        return FakeChain(CHAIN_ID, start=START)

    def now(self) -> datetime:
        return self.chain.head.timestamp + self._ahead

    def once(self, name: str, *calls: tuple[str, tuple[Any, ...], dict[str, Any]]) -> None:
        """Do this on the chain, unless it was done in an earlier life."""
        if name in self.done:
            return
        line = base64.b64encode(pickle.dumps((name, calls)))
        with self._file.open("ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._play(name, calls)

    def _play(self, name: str, calls: Any) -> None:
        self.done[name] = [getattr(self.chain, method)(*positional, **named) for method, positional, named in calls]


class Node:
    """The chain as a node serves it: a process may die before it has asked, and before it has heard the answer."""

    def __init__(self, chain: FakeChain) -> None:
        self._chain = chain
        self.chain_id = chain.chain_id

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._chain, name)
        if name not in SEEN:
            return method

        def asked(*args: Any, **kwargs: Any) -> Any:
            crash_point("node.asked")
            found = method(*args, **kwargs)
            crash_point("node.answered")
            return found

        return asked


class Receiver:
    """A notifier that remembers outside the database."""

    profile = SinkProfile()

    def __init__(self, folder: Path) -> None:
        self.path = folder / "told"

    def notify(self, event: Event) -> None:
        with self.path.open("ab") as file:
            file.write(f"{event.event_id} {event.type}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def told(self) -> list[tuple[str, str]]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [(event_id, type_) for event_id, type_ in (line.split() for line in lines)]
