"""A PostgreSQL database with our tables, and a way to disturb a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from bad_days import Before

from evmbilling.engine import context


@pytest.fixture
def database(databases) -> Iterator[str]:
    """The URL of a database with our tables."""
    with databases.lend("postgres") as url:
        yield url


@pytest.fixture
def before_commit(monkeypatch) -> Callable[..., Before]:
    """Do something right before the engine's next commit, and something else before those that follow."""

    def arrange(first: Callable[[], object], later: Callable[[], object] = tuple) -> Before:
        before = Before(first, later)
        monkeypatch.setattr(context, "crash_point", before)
        return before

    return arrange
