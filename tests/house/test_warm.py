"""What the tests share so that each of them costs less, and what they do not."""

from __future__ import annotations

import gc
import sys

import sqlalchemy as sa

import forks
import warm
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage


def tell() -> None:
    """Say what a fork finds."""
    sys.stdout.write(f"{sorted(dialect for _, dialect in warm._built)} {gc.get_freeze_count() > 0}\n")


def test_a_fork_finds_the_statements_built():
    done = forks.run(tell)
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
