from __future__ import annotations

from collections.abc import Iterator

import pytest
from evm_bench import Shop

from evmbilling.testing.anvil import AnvilNode


@pytest.fixture
def shop(anvil: AnvilNode) -> Iterator[Shop]:
    shop = Shop(anvil)
    yield shop
    shop.close()
