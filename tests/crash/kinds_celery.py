"""A worker of Celery over a broker that is a file: one process, whose tasks are ticks, and so is its clock."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import SecurityWarning, WorkerShutdown
from kinds_life import LATER, NOWHERE, as_json, books_of
from kinds_scene import LOOKS, SharedWorld, begin_scene, open_engine

from evmbilling.integrations.celery import add_billing
from evmbilling.ports import crash
from evmbilling.working.steps import STEPS

# Celery looks these up by name when a worker starts. Here each worker is a fork, and finds them imported.
for _name in (
    "celery.apps.worker",
    "celery.concurrency.solo",
    "celery.fixups.django",
    "celery.worker.control",
    "celery.worker.loops",
    "celery.worker.strategy",
    "kombu.transport.sqlalchemy",
    "sqlalchemy.dialects.mysql",
):
    importlib.import_module(_name)


class CeleryWorker:
    """It looks at a scene as often as it takes until it is over.

    Args:
        url, folder, ahead: as for ``Worker``.
        life: tells its own beats from those that a dead one has left in the broker.

    """

    def __init__(self, url: str, folder: Path, scene: str, life: str, *, ahead: int = 0) -> None:
        self._scene, self._life = scene, life
        self._world = SharedWorld(folder, ahead=ahead)
        self._engine = open_engine(url, folder, self._world)
        self._looks = 0
        self._app = Celery("crashing", broker=f"sqla+sqlite:///{folder}/broker.db")
        self._app.conf.update(
            broker_transport_options={"connect_args": {"timeout": 30}},
            worker_hijack_root_logger=False,
            worker_redirect_stdouts=False,
            worker_prefetch_multiplier=1,
            broker_connection_retry_on_startup=True,
        )
        with self._app.connection_for_write() as connection:
            # A second by default, which each empty look at the queue would cost.
            type(connection.transport).polling_interval = 0.005
        self._ticks = add_billing(self._app, lambda: open_engine(url, folder, self._world))

        def beat(life: str) -> None:
            self._send_ticks(life)

        self._beat = self._app.task(beat, name="beat", ignore_result=True, shared=False)

    def run(self) -> None:
        """Work until the scene is over."""
        self._beat.delay(self._life)
        warnings.simplefilter("ignore", SecurityWarning)  # some run tests as root
        self._app.Worker(
            pool="solo", loglevel="ERROR", without_heartbeat=True, without_gossip=True, without_mingle=True, quiet=True
        ).start()

    def _send_ticks(self, life: str) -> None:
        """Send every tick once the ticks before are done; or end, when enough was looked."""
        if life != self._life:
            return
        if self._waiting():
            self._beat.delay(self._life)
            return
        if self._looks == LOOKS:
            raise WorkerShutdown(0)
        begin_scene(self._scene, self._looks, self._engine, self._world)
        self._looks += 1
        for step in STEPS:
            self._ticks[step.name].delay()
            if step.by_network:
                self._ticks[step.name].delay("local")  # what the tick above sends is dropped when this machine is slow
        self._beat.delay(self._life)

    def _waiting(self) -> int:
        """Return how many messages the broker holds."""
        with self._app.connection_for_read() as connection:
            return int(connection.default_channel.queue_declare("celery", passive=True).message_count)


def first_celery(url: str, folder: Path, scene: str, dies_at: str = NOWHERE) -> dict[str, int]:
    """Live a scene, and die in it or not; return how often each place was passed."""
    crash.passes.clear()
    os.environ[crash.CRASH_VARIABLE] = dies_at
    CeleryWorker(url, folder, scene, "first").run()
    return dict(crash.passes)


def second_celery(url: str, folder: Path, scene: str) -> dict[str, Any]:
    """Find what a dead worker left, in the database and in the broker, and return the books behind the scene."""
    CeleryWorker(url, folder, scene, "second", ahead=LATER).run()
    world = SharedWorld(folder, ahead=LATER)
    engine = open_engine(url, folder, world)
    books = books_of(engine, world, folder)
    engine.close()
    return as_json(books)
