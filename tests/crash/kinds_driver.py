"""Kills workers, step by step and place by place, has others finish their work, and prints what came of each.

``kinds_driver.py DATABASE FOLDER SHARE SEED``: DATABASE is ``sqlite``, for which FOLDER has a migrated ``template.db``,
or the url of a PostgreSQL server's database, which is a template as well;
SHARE is ``few`` for a selection by the seed, in which every kind dies and every place is died at, or a number n for
each n-th of all places, and of some around statements and questions to the node in each scene. Prints which places each
kind passes, the books behind each scene, and then a line for each life.
"""

from __future__ import annotations

import gc
import json
import random
import shutil
import signal
import sys
import threading
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import psycopg
from crash_driver import in_process
from kinds_celery import first_celery, second_celery
from kinds_life import CELERY, KINDS, first_life, others, second_life
from kinds_scene import SCENES, stock
from sqlalchemy.engine import make_url

FINE_PLACES = ("statement.before", "statement.after", "node.asked", "node.answered")
FINE_EACH = 1
"""Of each place around statements, in each scene of each kind."""
FEW_OF_CELERY = 1
IN_THREADS = {"dispatcher", CELERY}
"""Deliver in threads, and store together what ends together: how often they pass a place differs between lives."""
Passed = dict[str, dict[str, dict[str, int]]]
"""How often each place is passed, by kind and scene."""
Books = dict[str, Any]


@attrs.frozen
class Death:
    """Where a process dies: a kind, in a scene, at the n-th pass of a place."""

    kind: str
    scene: str
    place: str
    number: int

    @property
    def at(self) -> str:
        return f"{self.place}:{self.number}"


@attrs.frozen
class Theatre:
    """Scenes as folders: the world in files, and a database, beside them or on a server."""

    database: str
    folder: Path

    def url(self, home: Path) -> str:
        if self.database == "sqlite":
            return f"sqlite:///{home}/billing.db"
        name = f"{make_url(self.database).database}_{home.name}"
        return make_url(self.database).set(database=name).render_as_string(hide_password=False)

    def open(self, name: str) -> Path:
        home = self.folder / name
        home.mkdir()
        if self.database == "sqlite":
            shutil.copyfile(self.folder / "template.db", home / "billing.db")
            return home
        template = make_url(self.database).database
        self._server(f'CREATE DATABASE "{self._name(home)}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return home

    def copy(self, source: Path, name: str) -> Path:
        home = self.folder / name
        shutil.copytree(source, home)
        made = f'CREATE DATABASE "{self._name(home)}" TEMPLATE "{self._name(source)}" STRATEGY FILE_COPY'
        self._server(made)
        return home

    def drop(self, home: Path) -> None:
        shutil.rmtree(home)
        self._server(f'DROP DATABASE "{self._name(home)}" WITH (FORCE)')

    @contextmanager
    def copied(self, scene: str) -> Iterator[tuple[str, Path]]:
        """A copy of what a scene begins with."""
        home = self.copy(self.folder / scene, "life")
        yield self.url(home), home
        self.drop(home)

    def _name(self, home: Path) -> str | None:
        return make_url(self.url(home)).database

    def _server(self, statement: str) -> None:
        if self.database == "sqlite":
            return
        url = make_url(self.database).set(drivername="postgresql", database="postgres")
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute(statement.encode())


def rehearse(theatre: Theatre) -> tuple[Passed, dict[str, Books]]:
    """Play all scenes in this process without a death: its forks find everything imported and compiled.

    Return the places that were passed, and the books behind each scene; each scene's folder holds what it begins with.
    """
    passed: Passed = {kind: {} for kind in KINDS}
    books: dict[str, Books] = {}
    home = theatre.open(SCENES[0])
    stock(theatre.url(home), home)
    for scene, following in zip(SCENES, (*SCENES[1:], None), strict=True):
        with theatre.copied(scene) as (url, home):  # where all live, so that what is compiled is found again
            for kind, places in first_life(url, home, scene).items():
                passed[kind][scene] = places
            books[scene] = second_life(url, home, scene)
            if following is not None:
                theatre.copy(home, following)
    return passed, books


def rehearse_celery(theatre: Theatre, scenes: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the places that a worker of Celery passes, by scene."""
    found = {}
    for scene in scenes:
        with theatre.copied(scene) as (url, home):
            _, found[scene] = in_process(lambda url=url, home=home, scene=scene: first_celery(url, home, scene))
    return found


def expect_of_celery(passed: Passed, seed: random.Random) -> dict[str, dict[str, int]]:
    """Return the places that the steps pass in one scene: Celery, which does the same, has to die where it is told."""
    scene = seed.choice(SCENES[:-1])
    return {scene: dict(sum((Counter(scenes[scene]) for scenes in passed.values() if scenes), Counter()))}


def every(passed: Passed, seed: random.Random) -> list[Death]:
    """Return every place at which somebody can die, at every pass; of Celery, which does what the steps do, at one."""
    return [
        Death(kind, scene, place, number)
        for kind, scenes in passed.items()
        for scene, places in scenes.items()
        for place, count in places.items()
        for number in ([seed.randint(1, count)] if kind == CELERY else range(1, count + 1))
    ]


def fine(passed: Passed, seed: random.Random) -> list[Death]:
    """Return some places around statements and questions to the node, where there are any."""
    return [
        Death(kind, scene, place, seed.randint(1, 40))
        for kind, scenes in passed.items()
        if kind != CELERY
        for scene in scenes
        for place in FINE_PLACES
        for _ in range(FINE_EACH)
    ]


def few(deaths: Sequence[Death], seed: random.Random) -> list[Death]:
    """Return a selection in which every kind dies and every place is died at; Celery dies a few times."""
    shuffled = seed.sample(deaths, len(deaths))
    known = defaultdict(set)
    for death in deaths:
        known[death.place].add(death.kind)
    shuffled.sort(key=lambda death: len(known[death.place]))  # what few pass is found with these
    chosen: list[Death] = []

    def new(death: Death) -> int:
        return (death.kind not in {d.kind for d in chosen}) + (death.place not in {d.place for d in chosen})

    of_celery = FEW_OF_CELERY
    for news in (2, 1):  # the fewest lives: first those that are new in both
        for death in shuffled:
            if death.kind == CELERY or new(death) < news:
                continue
            chosen.append(death)
        elsewhere = {death.place: death for death in shuffled if death.kind == CELERY and new(death) >= news}
        chosen += [*elsewhere.values()][:of_celery]
        of_celery = 0
    return chosen


def die(theatre: Theatre, death: Death) -> tuple[int, Books]:
    """Have a process die and others finish its work; return the signal that ended it, and the books."""
    celery, fine_ = death.kind == CELERY, death.place in FINE_PLACES
    with theatre.copied(death.scene) as (url, home):
        if celery:
            killed, _ = in_process(lambda: first_celery(url, home, death.scene, death.at))
            _, books = in_process(lambda: second_celery(url, home, death.scene))
            return killed, books
        killed, _ = in_process(lambda: first_life(url, home, death.scene, death.kind, death.at, fine=fine_))
        _, books = in_process(lambda: afterwards(url, home, death))
    return killed, books


def afterwards(url: str, home: Path, death: Death) -> Books:
    """Have others go on, and then somebody start the dead process again: one after another, so a fork is enough."""
    others(url, home, death.scene, death.kind)
    return second_life(url, home, death.scene)


def main(database: str, folder: Path, share: str, seed: random.Random) -> None:
    theatre = Theatre(database, folder)
    passed, books = rehearse(theatre)
    if threading.active_count() != 1:
        raise SystemExit("a thread is left: forks would be unsafe")
    gc.collect()
    gc.freeze()  # a collection in a fork would copy every page that it only looks at
    passed[CELERY] = expect_of_celery(passed, seed) if share == "few" else rehearse_celery(theatre, SCENES)
    _tell({"passed": passed, "books": books})
    deaths = every(passed, seed)
    for death in few(deaths, seed) if share == "few" else [*deaths, *fine(passed, seed)][:: int(share)]:
        killed, found = die(theatre, death)
        if not killed and death.kind in IN_THREADS and death.number > 1:
            death = attrs.evolve(death, number=1)  # noqa: PLW2901  - this is the death that is told of
            killed, found = die(theatre, death)
        if killed not in (0, signal.SIGKILL):
            raise SystemExit(f"{death} ended by signal {killed}")
        _tell({"death": attrs.asdict(death), "killed": bool(killed), "books": found})


def _tell(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)  # noqa: T201  - the driver speaks by lines


if __name__ == "__main__":
    warnings.simplefilter(
        "default"
    )  # as a program has them that nobody started with options: Celery has some of its own
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], random.Random(int(sys.argv[4])))
