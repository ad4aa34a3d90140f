from __future__ import annotations

from collections.abc import Iterator

import pytest
from deposit_bench import DepositShop

from evmbilling.testing.anvil import AnvilNode


@pytest.fixture
def shop(anvil: AnvilNode) -> Iterator[DepositShop]:
    made = DepositShop(anvil)
    yield made
    made.close()
