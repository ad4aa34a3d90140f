"""What finance decides is in the books at once, goes when the chain takes the money, and comes back with it."""

from __future__ import annotations

import pytest

from evmbilling.testing.merchant import ADMIN, wallet_of

PRICE = 19_990_000
OWNER = wallet_of("stranger")


def unknown(bookshop):
    """Money from a stranger: the item about it, and the hash of its transaction."""
    shop = bookshop.merchant
    sent = shop.chain.transfer(shop.token.token, OWNER, shop.treasury, PRICE)
    shop.settle()
    return bookshop.engine.finance(ADMIN).queue()[0].item_id, sent


def wait(bookshop):
    return unknown(bookshop)[1]


def assign(bookshop):
    offer = bookshop.merchant.checkout("user-1")
    item, sent = unknown(bookshop)
    bookshop.engine.finance(ADMIN).assign(item, offer.ledger_id)
    return sent


def credit(bookshop):
    bookshop.merchant.checkout("user-1")
    item, sent = unknown(bookshop)
    bookshop.engine.finance(ADMIN).credit(item, "user-1")
    return sent


def write_off(bookshop):
    item, sent = unknown(bookshop)
    bookshop.engine.finance(ADMIN).write_off(item)
    return sent


def mark(bookshop):
    shop = bookshop.merchant
    offer = shop.checkout("user-1")
    sent = shop.chain.pay(offer.order, amount=5)
    shop.settle()
    bookshop.engine.finance(ADMIN).mark_paid(offer.ledger_id, reason="bank transfer")
    return sent


def mark_and_pay(bookshop):
    shop = bookshop.merchant
    offer = shop.checkout("user-1")
    bookshop.engine.finance(ADMIN).mark_paid(offer.ledger_id, reason="bank transfer")
    sent = shop.chain.pay(offer.order)
    shop.settle()
    return sent


MARKED = {"write_off": -PRICE, "deferred_revenue": PRICE}
DECISIONS = [
    (wait, {"treasury": -PRICE, "suspense": PRICE}, {}),
    (assign, {"treasury": -PRICE, "deferred_revenue": PRICE}, {}),
    (credit, {"treasury": -PRICE, "customer_credit": PRICE}, {}),
    (write_off, {"treasury": -PRICE, "write_off": PRICE}, {}),
    (mark, {"treasury": -5, "write_off": 5 - PRICE, "deferred_revenue": PRICE}, MARKED),
    (mark_and_pay, MARKED | {"treasury": -PRICE, "customer_credit": PRICE}, MARKED),
]


@pytest.mark.parametrize(("decide", "after", "gone"), DECISIONS, ids=[row[0].__name__ for row in DECISIONS])
def test_a_decision_is_in_the_books_and_follows_its_money(memory_bookshop, decide, after, gone):
    shop = memory_bookshop.merchant
    shop.chain.mine(5)
    sent = decide(memory_bookshop)
    assert (memory_bookshop.table(), memory_bookshop.found()) == (after, [])
    shop.chain.reorganise(4)
    shop.settle(1)
    assert (memory_bookshop.table(), memory_bookshop.found()) == (gone, [])
    shop.chain.resend(sent)
    shop.settle()
    assert (memory_bookshop.table(), memory_bookshop.found()) == (after, [])


@pytest.mark.fault("B05")
def test_b05_a_second_payment_of_one_order_is_credit_and_is_told_to_finance(memory_bookshop):
    shop = memory_bookshop.merchant
    offer = shop.checkout("user-1")
    shop.chain.pay(offer.order)
    shop.chain.pay(offer.order)
    shop.settle()
    assert memory_bookshop.table() == {"treasury": -2 * PRICE, "deferred_revenue": PRICE, "customer_credit": PRICE}
    assert [item.kind for item in memory_bookshop.engine.finance(ADMIN).queue()] == ["duplicate"]
    assert memory_bookshop.found() == []


def test_money_between_two_treasuries_is_in_the_books_of_both(memory_bookshop):
    shop = memory_bookshop.merchant
    other = wallet_of("second treasury")
    shop.engine.admin(ADMIN).create_gateway(
        slug="second", networks=[shop.network], signer="env:NONE", treasuries={shop.network: other}
    )
    shop.settle(1)
    shop.buy()
    shop.chain.transfer(shop.token.token, shop.treasury, other, 1_000)
    shop.chain.transfer(shop.token.token, other, OWNER, 400)
    shop.settle()
    assert memory_bookshop.verify().differences == ()
    assert memory_bookshop.table() == {"treasury": 400 - PRICE, "external": -400, "deferred_revenue": PRICE}
