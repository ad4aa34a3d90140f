"""A process that has everything imported and forks workers when it is told to: a restart then costs next to nothing.

Speaks in lines: ``reader`` or ``intake`` on standard input answers with the process id of a new worker on standard
output. At the end of the input every worker is killed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from datetime import datetime, timedelta

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
        time.sleep(0.01)


def main(url: str, clock: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    born: list[int] = []
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            try:
                work(line.strip(), open_engine(url, clock))
            except BaseException:  # noqa: BLE001  - it is told, and the campaign fails by it
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(1)
        born.append(pid)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    for pid in born:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])
