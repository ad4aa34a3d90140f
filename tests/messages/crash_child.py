"""A process of a worker that may be killed.

``main(URL, FILE, "ahead=SECONDS", "rounds=N", "slow=SECONDS", "limit=N", "gate=1")``; the options may be left out.
A gate lets the first event out, and the others once FILE.open is there.

Its notifier appends ``pid aggregate seq event_id`` to FILE and syncs, as an outside system would remember.
"""

from __future__ import annotations

import base64
import os
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from evmbilling.adapters.lanes import ThreadLanes
from evmbilling.adapters.secretbox import SecretBox
from evmbilling.adapters.sqlalchemy.engines import Waits
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.adapters.system import SystemIds
from evmbilling.domain.messages.delivery import SinkProfile
from evmbilling.engine.context import Ports
from evmbilling.engine.core import Engine
from evmbilling.factory import SilentTelemetry


class Ahead:
    """The machine's clock, some seconds ahead: the lease of a dead process is over."""

    def __init__(self, seconds: float) -> None:
        self._ahead = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead


class FileNotifier:
    """Remembers outside the database."""

    def __init__(self, path: str, slow: float, *, gate: bool) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._slow = slow
        self._gate = Path(path + ".open") if gate else None
        self._told = 0
        self.profile = SinkProfile()

    def notify(self, event) -> None:
        time.sleep(self._slow)
        while self._gate is not None and self._told and not self._gate.exists():
            time.sleep(0.01)
        self._told += 1
        os.write(self._file, f"{os.getpid()} {event.aggregate} {event.seq} {event.event_id}\n".encode())
        os.fsync(self._file)


def main(url: str, path: str, *options: str) -> None:
    given = {"ahead": 0.0, "rounds": 1.0, "slow": 0.0, "limit": 100.0, "gate": 0.0} | {
        name: float(value) for name, _, value in (option.partition("=") for option in options)
    }
    clock = Ahead(given["ahead"])
    storage = SqlAlchemyStorage.open(url, clock=clock, waits=Waits(lock=10, pool=20, pool_size=5))
    engine = Engine(
        Ports(
            storage=storage,
            providers={},
            clock=clock,
            ids=SystemIds(),
            secrets=SecretBox(SecretStr(base64.b64encode(b"k" * 32).decode())),
            telemetry=SilentTelemetry(),
            notifiers={"file": FileNotifier(path, given["slow"], gate=bool(given["gate"]))},
            lanes=ThreadLanes(),
        )
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for _ in range(int(given["rounds"])):
        engine.dispatch(limit=int(given["limit"]))
    engine.close()
