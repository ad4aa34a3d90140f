"""What begins to be watched while a network is read: nothing of it is passed over."""

from __future__ import annotations

import pytest
from reader_books import cursor
from test_backfill import watching

from evmbilling.domain.addresses import checksum
from evmbilling.testing.merchant import ADMIN

TREASURY = checksum(b"\x91" * 20)
STRANGER = checksum(b"\x92" * 20)


@pytest.mark.parametrize(("method", "blocks"), [("scan", 400), ("logs", 3)])
def test_a_treasury_that_is_added_while_blocks_are_read_is_accounted_for_from_its_start(shop, method, blocks):
    """It starts behind the cursor; the blocks that are on their way were asked for without it."""
    shop.buy("user-1")
    shop.chain.mine(blocks // 2)
    shop.chain.transfer(shop.token.token, STRANGER, TREASURY, 5)
    shop.chain.mine(blocks // 2)
    shop.chain.scan_blocks = 100
    admin = shop.engine.admin(ADMIN)
    (gateway,) = admin.gateways()

    def add(calls):
        if calls == (2 if method == "scan" else 1):
            admin.create_gateway(
                slug="second", networks=["local"], signer=gateway.signer, treasuries={"local": TREASURY}
            )

    watching(shop, method, add)
    assert shop.engine.read_chain("local").outcome == "read"
    assert cursor(shop).block == shop.chain.head
    assert len(admin.gateways()) == 2
    shop.settle()
    assert shop.engine.verify().differences == ()
