"""Kills a process at every place in turn, lets another finish its work, and prints what came of each.

``crash_driver.py DATABASE FOLDER FIRST EVERY FINE``: DATABASE is ``sqlite`` or the url of a PostgreSQL database that
serves as a template; FIRST is the first place to die at, EVERY takes each n-th place from there; FINE is 1 to die
around every statement and every question to the node as well. Each process is a fork of this one, which holds no
connection and no thread and has lived once: a hundred of them cost no hundred interpreters.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import psycopg
from crash_digest import digest, told_wrongly
from crash_script import Life, stock
from crash_world import Receiver
from sqlalchemy.engine import make_url

from evmbilling.ports.crash import CRASH_VARIABLE
from evmbilling.testing._copies import Copies

LATER = 600
"""Seconds after which somebody starts a process again: every lease of the dead one is over."""


def in_process(work: Callable[[], Any], *, crash: str = "") -> tuple[int, Any]:
    """Run work in a fork; return the signal that ended it (0 when it ended by itself) and what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.environ[CRASH_VARIABLE] = crash
            answer = json.dumps(work())
            os.write(writing, answer.encode())
            os.close(writing)
            os._exit(0)
        except BaseException:  # noqa: BLE001  - a fork must never return into its parent's stack
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status), None
    if os.WEXITSTATUS(status):
        raise SystemExit(f"a process that nobody killed failed (crash {crash or 'none'})")
    return 0, json.loads(answer)


class Sqlite:
    """Copies of a file."""

    def __init__(self, folder: Path) -> None:
        self._template = folder / "template.db"
        in_process(lambda: stock(f"sqlite:///{self._template}", folder))

    def fresh(self, folder: Path) -> str:
        shutil.copy(self._template, folder / "billing.db")
        return f"sqlite:///{folder / 'billing.db'}"

    def drop(self, url: str) -> None:
        Path(make_url(url).database or "").unlink()

    def close(self) -> None:
        """Nothing is left."""


class Postgres:
    """Copies of a database; a killed process leaves a session behind, which is ended before the copy is used again."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = make_url(url)
        self._copies = Copies(self._connect)
        in_process(lambda: stock(url, folder))

    def fresh(self, folder: Path) -> str:
        name = self._copies.take()
        if name is None:
            name = f"{self._url.database}_{folder.name}"
            self._run(f'CREATE DATABASE "{name}" TEMPLATE "{self._url.database}" STRATEGY FILE_COPY')
            self._copies.add(name)
            self._copies.leave(name)  # nothing is open while processes are forked
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        name = make_url(url).database
        if self._copies.give_back(name):
            self._copies.leave(name)
        else:  # a session that still ends holds it, or the server has tended its tables: another copy is as good
            self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def close(self) -> None:
        for name in self._copies.forget():
            self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        plain = self._url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
        return psycopg.connect(plain, autocommit=True)

    def _run(self, statement: str) -> None:
        with self._connect("postgres") as connection:
            connection.execute(statement.encode())


def first_life(url: str, folder: Path, *, fine: bool) -> str:
    Life(url, folder, fine=fine).run()
    return "finished"


def second_life(url: str, folder: Path) -> dict[str, Any]:
    """Find what a dead process left, finish the work, and return the books."""
    life = Life(url, folder, ahead=LATER)
    life.run()
    life.settle()
    books = digest(life.engine)
    books["told wrongly"] = told_wrongly(life.engine, Receiver(folder).told(), most=2)
    life.engine.close()
    return books


@attrs.frozen
class Lives:
    """One life after another, each in the same place, so that what is compiled is found again."""

    place: Sqlite | Postgres
    home: Path

    def warm_up(self) -> None:
        """Live once in this process, so that its forks find everything imported and compiled."""
        url = self._begin()
        second_life(url, self.home)
        self._end(url)
        if threading.active_count() != 1:
            raise SystemExit("a thread is left: forks would be unsafe")
        gc.collect()
        gc.freeze()  # a collection in a fork would copy every page that it only looks at

    def live(self, number: int, *, fine: bool) -> tuple[int, Any]:
        """Kill a life at a place (0 is none) and let another one finish; return the signal and the books."""
        url = self._begin()
        crash = f"*:{number}" if number else ""
        killed, _ = in_process(lambda: first_life(url, self.home, fine=fine), crash=crash)
        _, books = in_process(lambda: second_life(url, self.home))
        self._end(url)
        return killed, books

    def _begin(self) -> str:
        self.home.mkdir()
        return self.place.fresh(self.home)

    def _end(self, url: str) -> None:
        self.place.drop(url)
        shutil.rmtree(self.home)


def main(database: str, folder: Path, first: int, every: int, *, fine: bool) -> None:
    place = Sqlite(folder) if database == "sqlite" else Postgres(database, folder)
    lives = Lives(place, folder / "life")
    lives.warm_up()
    print(json.dumps({"at": 0, "books": lives.live(0, fine=fine)[1]}), flush=True)  # noqa: T201  - the driver speaks by lines
    number = first
    while True:
        killed, books = lives.live(number, fine=fine)
        if killed not in (0, signal.SIGKILL):
            raise SystemExit(f"ended by signal {killed}")
        print(json.dumps({"at": number, "killed": bool(killed), "books": books}), flush=True)  # noqa: T201
        if not killed:
            break
        number += every
    place.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), fine=sys.argv[5] == "1")
