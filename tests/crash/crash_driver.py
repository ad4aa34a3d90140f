"""Kills a process at every place in turn, lets another finish its work, and prints what came of each.

``crash_driver.py DATABASE FOLDER EVERY FINE``: DATABASE is ``sqlite`` or the url of a PostgreSQL database that serves
as a template; EVERY takes each n-th place; FINE is 1 to die around every statement and every question to the node as
well. Each process is a fork of this one, which holds no connection and no thread: a hundred of them cost no hundred
interpreters.
"""

from __future__ import annotations

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

import psycopg
from crash_digest import digest, told_wrongly
from crash_script import Life, stock
from crash_world import Receiver
from sqlalchemy.engine import URL, make_url

from evmbilling.ports.crash import CRASH_VARIABLE

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


class Postgres:
    """Copies of a database; a killed process leaves a session behind, which goes with its copy."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = make_url(url)
        in_process(lambda: stock(url, folder))

    def fresh(self, folder: Path) -> str:
        name = f"{self._url.database}_{folder.name}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{self._url.database}" STRATEGY FILE_COPY')
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        self._run(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        plain: URL = self._url.set(drivername="postgresql", database="postgres")
        with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as connection:
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


def warm_up(folder: Path) -> None:
    """Live once in this process, so that its forks find everything imported."""
    home = folder / "warm"
    home.mkdir()
    url = f"sqlite:///{home / 'billing.db'}"
    stock(url, home)
    life = Life(url, home)
    life.run()
    digest(life.engine)
    life.engine.close()
    if threading.active_count() != 1:
        raise SystemExit("a thread is left: forks would be unsafe")


def main(database: str, folder: Path, every: int, *, fine: bool) -> None:
    warm_up(folder)
    place = Sqlite(folder) if database == "sqlite" else Postgres(database, folder)

    def live(number: int) -> tuple[int, Any]:
        home = folder / f"life{number}"
        home.mkdir()
        url = place.fresh(home)
        crash = f"*:{number}" if number else ""
        killed, _ = in_process(lambda: first_life(url, home, fine=fine), crash=crash)
        _, books = in_process(lambda: second_life(url, home))
        place.drop(url)
        shutil.rmtree(home)
        return killed, books

    print(json.dumps({"at": 0, "books": live(0)[1]}), flush=True)  # noqa: T201  - the driver speaks by lines
    number = 1
    while True:
        killed, books = live(number)
        if killed not in (0, signal.SIGKILL):
            raise SystemExit(f"ended by signal {killed}")
        print(json.dumps({"at": number, "killed": bool(killed), "books": books}), flush=True)  # noqa: T201
        if not killed:
            return
        number += every


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), fine=sys.argv[4] == "1")
