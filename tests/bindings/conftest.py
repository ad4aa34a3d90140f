"""A merchant who sells through somebody else's contract, on a real chain."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bindings_bench import Club

from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock

if TYPE_CHECKING:
    from databases import Databases


@pytest.fixture
def club(anvil: AnvilNode) -> Iterator[Club]:
    """A club whose passes are bound, with no plan yet."""
    made = Club(anvil)
    yield made
    made.close()


@pytest.fixture
def stored_club(anvil: AnvilNode, tmp_path: Path, databases: Databases) -> Iterator[Club]:
    """The same in a database, which a host can share."""
    url = f"sqlite:///{shutil.copy(databases.sqlite_template, tmp_path / 'club.db')}"
    head = anvil.block()
    assert head is not None
    clock = FrozenClock(Club.when(head))
    made = Club(anvil, storage=SqlAlchemyStorage.open(url, clock=clock), clock=clock)
    made.url = url
    yield made
    made.close()
