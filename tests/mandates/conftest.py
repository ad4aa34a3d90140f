"""A simulated merchant that can pull, over each storage; and the benches of other folders."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "contract"))

from pulls_bench import Pulls

from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import simulated_merchant

START = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def pulls(request, open_database) -> Pulls:
    storage = open_database(request.param, FrozenClock(START))
    return Pulls(simulated_merchant(storage=storage, chain=FakeChain(31337, start=START)))


@pytest.fixture
def simple() -> Pulls:
    """In memory only: for what no storage can change."""
    return Pulls(simulated_merchant(seed=3))
