"""What the tests share so that each of them costs less, and what they do not."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

import forks
import warm
from evmbilling.adapters.sqlalchemy import comparing, tables
from evmbilling.adapters.sqlalchemy.names import Names
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage


def tell() -> None:
    """Say what a fork finds."""
    sys.stdout.write(f"{sorted(dialect for _, dialect in warm._built)} {gc.get_freeze_count() > 0}\n")


def test_a_fork_finds_the_statements_built():
    done = forks.run(tell)
    assert (done.stdout, done.stderr) == ("['postgresql', 'sqlite'] True\n", "")


@pytest.mark.exhaustive  # it starts a server of its own, and what it shows only saves time
def test_so_does_a_fork_of_a_server_that_a_kit_was_the_first_to_start():
    folders = [str(folder) for folder in (Path(forks.__file__).parent, Path(__file__).parent)]
    first = (
        f"import sys; sys.path[:0] = {folders!r}\n"  # as pytest finds them: no variable says so
        "import forks, test_warm\n"
        "from evmbilling.testing.conformance import processes\n"
        "kit = processes._context().Process(target=int)\n"
        "kit.start(); kit.join()\n"
        "print(forks.run(test_warm.tell).stdout, end='')\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", first]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("['postgresql', 'sqlite'] True\n", "")


def test_only_storages_opened_by_a_url_share_statements():
    first, second = SqlAlchemyStorage.open("sqlite://"), SqlAlchemyStorage.open("sqlite://")
    own = SqlAlchemyStorage(sa.create_engine("sqlite://"))
    other = SqlAlchemyStorage.open("sqlite://", prefix="other_")
    assert first._statements is second._statements
    assert len({id(one._statements) for one in (first, own, other)}) == 3
    for one in (first, second, other):
        one.close()
    own._engine.dispose()


def test_tables_are_shared_by_those_who_only_read_them_and_by_definitions(monkeypatch):
    warm.share_statements()
    shared = comparing.build_tables(Names())
    assert comparing.build_tables(Names()) is shared is not tables.build_tables(Names())
    assert comparing.build_tables(Names(prefix="other_")) is not shared
    monkeypatch.setattr(tables, "DEFINITIONS", tables.DEFINITIONS[:1])
    assert len(comparing.build_tables(Names()).metadata.tables) < len(shared.metadata.tables)
