"""Both kinds of chain, with the same merchant on each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chain_fields import AnvilField, FakeField, Field

from evmbilling.testing.anvil import AnvilNode


@pytest.fixture(params=["fake", "anvil"])
def field(request) -> Iterator[Field]:
    """A merchant on the fake chain and on Anvil; the node is this test's own."""
    if request.param == "fake":
        made: Field = FakeField(1, 20, strict=True)
        made.mine(20)
        yield made
        return
    with AnvilNode() as node:
        made = AnvilField(node, 20)
        yield made
        made.shop.engine.close()
