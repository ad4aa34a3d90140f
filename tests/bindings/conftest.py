"""A merchant who sells through somebody else's contract, on a real chain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bindings_bench import Club

from evmbilling.testing.anvil import AnvilNode


@pytest.fixture
def club(anvil: AnvilNode) -> Iterator[Club]:
    """A club whose passes are bound, with no plan yet."""
    made = Club(anvil)
    yield made
    made.close()
