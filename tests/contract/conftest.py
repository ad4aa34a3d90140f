from __future__ import annotations

import pytest
from contract_bench import Bench
from mandates_bench import MandatesBench


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def pulls() -> MandatesBench:
    return MandatesBench()
