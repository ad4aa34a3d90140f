"""A process that has everything imported and forks workers when it is told to: a restart then costs next to nothing.

Speaks through a pipe: ``reader`` or ``intake`` is answered with the process id of a new worker. When the other end is
closed every worker is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from datetime import datetime, timedelta
from multiprocessing.connection import Connection

from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.errors import BillingError
from evmbilling.factory import BillingEngine
from evmbilling.testing.merchant import repeatable_secrets

WAITS = Waits(idle=2, lock=2, pool_size=2)


class FastClock:
    """The same time in every process, which passes faster than the world's, so that leases run out soon."""

    def __init__(self, text: str) -> None:
        start, began, speed = text.split(",")
        self._start, self._began, self._speed = datetime.fromisoformat(start), float(began), float(speed)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=(time.time() - self._began) * self._speed)


def open_engine(url: str, clock: str) -> BillingEngine:
    made = FastClock(clock)
    storage = SqlAlchemyStorage.open(url, clock=made, waits=WAITS)
    return BillingEngine(storage=storage, clock=made, secrets=repeatable_secrets())


def work(kind: str, engine: BillingEngine) -> None:
    while True:
        try:
            if kind == "reader":
                engine.read_chain("local", max_blocks=20)
            else:
                engine.run_intake(limit=20)
                engine.expire_orders()
        except BillingError as error:
            # Nodes and databases fail in a campaign; what may be tried again is.
            if not error.retry_safe:
                raise
        time.sleep(0.03)


def serve(url: str, clock: str, pipe: Connection) -> None:
    """Fork workers until the other end of the pipe is closed; what broke one is written to standard error."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    born: list[int] = []
    with suppress(EOFError):
        while True:
            kind = pipe.recv()
            pid = os.fork()
            if not pid:
                try:
                    pipe.close()
                    work(kind, open_engine(url, clock))
                except BaseException:  # noqa: BLE001  - it is told, and the campaign fails by it
                    traceback.print_exc()
                    sys.stderr.flush()
                os._exit(1)
            born.append(pid)
            pipe.send(pid)
    for pid in born:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
