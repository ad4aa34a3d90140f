from __future__ import annotations

from collections.abc import Iterator

import pytest
from evm_bench import Shop

from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.testing.anvil import AnvilNode


@pytest.fixture
def shop(anvil: AnvilNode) -> Iterator[Shop]:
    shop = Shop(anvil)
    yield shop
    shop.close()


@pytest.fixture
def paid(shop: Shop) -> ChainLog:
    """One paid order, in the block at the head."""
    shop.approve()
    assert shop.pay(shop.order())["status"] == "0x1"
    (log,) = shop.logs()
    return log
