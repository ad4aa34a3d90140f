"""Checkout: what the same key, another key, time and live subscriptions do to it."""

from __future__ import annotations


def test_the_same_key_answers_with_the_same_order(shop):
    first = shop.checkout()
    again = shop.checkout()
    assert (again.ledger_id, again.reference) == (first.ledger_id, first.reference)
    assert (again.payload, again.challenge, again.deadline) == (first.payload, first.challenge, first.deadline)
    assert (first.replayed, again.replayed) == (False, True)
    assert (first.next, again.next) == ("pay", "pay")


def test_a_payment_opens_access_at_credit_depth(shop):
    asked = shop.checkout()
    shop.chain.pay(asked.order)
    seen = []
    for _ in range(4):
        shop.mine()
        seen.append((shop.status(asked), shop.allowed()))
    assert seen == [("confirming", False), ("confirming", False), ("confirmed", True), ("confirmed", True)]
