"""A commit of which one half is lost on the way: whoever tries again finds what is there, or writes it once."""

from __future__ import annotations

import pytest
from bad_days import assert_books, counts, open_shop, sold_and_mined

from evmbilling.testing.database_proxy import DatabaseProxy

LOSSES = [pytest.param("reply", 1, id="d01_reply"), pytest.param("request", 0, id="d02_request")]
"""What is lost, and how many of the transactions' rows stand at the moment of the loss."""


@pytest.fixture
def proxy(database):
    with DatabaseProxy(database) as proxy:
        yield proxy


@pytest.fixture
def far_shop(proxy):
    shop, storage = open_shop(proxy.url)
    yield shop, storage
    storage.close()


@pytest.mark.fault("D01", "D02")
@pytest.mark.parametrize(("what", "standing"), LOSSES)
def test_d01_d02_payment_is_credited_once(proxy, far_shop, before_commit, what, standing):
    shop, storage = far_shop
    sold_and_mined(shop, "ada")
    seen = {}
    before = before_commit(lambda: proxy.lose_next_commit(what), lambda: seen.update(counts(proxy.direct)))
    report = shop.engine.run_intake()
    assert (proxy.lost, before.commits) == (1, 2)
    assert seen["payment_receipts"] == standing  # what the second attempt found
    assert report.taken == 2 * (1 - standing)  # the payment, and the transfer of the token inside it
    assert counts(proxy.direct)["payment_receipts"] == 1
    shop.drain()
    assert_books(shop, storage, "ada")


@pytest.mark.fault("D01", "D02")
@pytest.mark.parametrize(("what", "standing"), LOSSES)
def test_d01_d02_checkout_makes_one_order(proxy, far_shop, before_commit, what, standing):
    shop, storage = far_shop
    seen = {}
    before_commit(lambda: proxy.lose_next_commit(what), lambda: seen.setdefault("found", counts(proxy.direct)))
    offer = shop.checkout("ada")
    assert proxy.lost == 1
    assert seen["found"]["payment_transactions"] == standing
    assert shop.checkout("ada").ledger_id == offer.ledger_id
    assert [o.ledger_id for o in shop.engine.orders("ada")] == [offer.ledger_id]
    shop.chain.pay(offer.order)
    shop.settle()
    assert_books(shop, storage, "ada")


@pytest.mark.fault("D01")
def test_d01_proxy_loses_nothing_that_it_was_not_told_to(proxy, far_shop):
    shop, storage = far_shop
    sold_and_mined(shop, "ada", "ben")
    shop.drain()
    assert proxy.lost == 0
    assert_books(shop, storage, "ada", "ben")
