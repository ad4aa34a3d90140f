"""A worker that stops itself (SIGSTOP) at one place, and goes on when it is told to.

``main(URL, kind)``: a ``reader`` stops when it has asked the node and before it writes what it heard; an ``intake``
stops when it has locked what it is about to write; ``written`` and ``heard`` are intakes that stop when they have
written all of it and before they say COMMIT, the latter while somebody listens to its statements, so that SQLAlchemy
executes them.
Prints in JSON how its call ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.errors import BillingError
from evmbilling.factory import BillingEngine
from evmbilling.testing.merchant import repeatable_secrets

SECOND = 2
"""A new lease takes back what was written under the old one first, and then writes what it has read."""


class Pausing:
    """Storage that stops the process in the middle of its work."""

    def __init__(self, inner: SqlAlchemyStorage, kind: str) -> None:
        self._inner, self._kind, self._writes = inner, kind, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @contextmanager
    def unit(self, *, write: bool = True, durable: bool = True) -> Iterator[Any]:
        self._writes += write
        if write and self._kind == "reader" and self._writes == SECOND:
            os.kill(os.getpid(), signal.SIGSTOP)
        with self._inner.unit(write=write, durable=durable) as unit:
            yield Stopping(unit) if self._kind == "intake" and self._writes == 1 else unit


class Stopping:
    """A unit that stops the process before it writes."""

    def __init__(self, unit: Any) -> None:
        self._unit = unit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unit, name)

    def apply(self, decisions: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        self._unit.apply(decisions)


class Committing:
    """Stops the process before the first COMMIT of what was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._met = engine, False

    def __call__(self, connection: Connection) -> None:
        if connection.engine is self._engine and not self._met:
            self._met = True
            os.kill(os.getpid(), signal.SIGSTOP)


def main(url: str, kind: str) -> None:
    storage = SqlAlchemyStorage.open(url, waits=Waits(idle=1, lock=5))
    if kind in ("written", "heard"):
        event.listen(storage._engine, "commit", Committing(storage._engine))
    if kind == "heard":
        event.listen(storage._engine, "before_cursor_execute", lambda *_: None)
    engine = BillingEngine(storage=Pausing(storage, kind), secrets=repeatable_secrets())
    try:
        done = engine.read_chain("local").outcome if kind == "reader" else engine.run_intake().taken
    except BillingError as error:
        done = error.code
    engine.close()
    sys.stdout.write(json.dumps({"done": done}))
