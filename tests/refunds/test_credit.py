"""A customer's credit: given back within what is free, set aside at once, and never twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
from refunds_bench import BOSS, OPS, Desk

from evmbilling.domain.actors import Actor
from evmbilling.errors import (
    BillingError,
    Conflict,
    InputError,
    NotFound,
    PermissionDenied,
    UnknownAsset,
    UnknownNetwork,
)
from evmbilling.testing.merchant import ADMIN

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

PRICE = 19_990_000


def test_what_was_paid_beyond_an_order_goes_back(desk: Desk):
    desk.pay_again(PRICE + 5)
    (credit,) = desk.ops.credit("user-1")
    assert (credit.held, credit.free, credit.asset) == (PRICE + 5, PRICE + 5, desk.shop.token)
    refund = desk.ready_credit(amount=PRICE + 1)
    assert (refund.status, refund.via, refund.treasury) == ("prepared", "transfer", desk.shop.treasury)
    assert desk.books() == {
        "treasury": -2 * PRICE - 5,
        "deferred_revenue": PRICE,
        "customer_credit": 4,
        "refunds": PRICE + 1,
    }
    assert [c.free for c in desk.ops.credit("user-1")] == [4]
    tx = desk.send(refund)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).status == "done"
    assert desk.books() == {"treasury": -PRICE - 4, "deferred_revenue": PRICE, "customer_credit": 4}
    assert desk.kinds() == ["refund"]
    assert desk.balanced()
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    assert desk.ops.refund(refund.refund_id).status == "confirming"
    assert desk.books()["refunds"] == PRICE + 1
    assert [c.free for c in desk.ops.credit("user-1")] == [4]
    assert desk.balanced()
    desk.shop.chain.resend(tx)
    desk.settle()
    assert desk.ops.refund(refund.refund_id).status == "done"
    assert desk.ops.request_credit("user-1", reason="the rest").amount == 4
    with pytest.raises(Conflict):
        desk.ops.request_credit("user-1", reason="again")
    assert desk.engine.access("user-1").allowed
    assert desk.balanced()


def test_credit_that_is_given_up_is_credit_again(desk: Desk):
    desk.pay_again()
    refund = desk.ops.request_credit("user-1", amount=7, reason="asked")
    assert desk.books()["customer_credit"] == PRICE - 7
    desk.ops.cancel(refund.refund_id, reason="mistake")
    assert desk.books() == {"treasury": -2 * PRICE, "deferred_revenue": PRICE, "customer_credit": PRICE}
    assert desk.ops.request_credit("user-1", reason="all of it").amount == PRICE
    assert desk.balanced()


def test_what_went_back_of_an_order_beyond_what_it_took_is_not_free(memory_desk: Desk):
    """However little of the payments is left after the chain has rearranged them."""
    desk = memory_desk
    desk.pay_again()
    desk.ready(amount=7)
    purse = desk.purse("user-1")
    assert purse.free() == PRICE
    took = next(r for r in purse.receipts if r.allocation == "order")
    for left, free in ((PRICE, PRICE), (7, PRICE), (3, PRICE - 4), (0, PRICE - 7)):
        others = [r for r in purse.receipts if r != took]
        assert attrs.evolve(purse, receipts=[*others, attrs.evolve(took, amount=left)]).free() == free


@pytest.mark.both_databases
@pytest.mark.fault("B17")
def test_b17_credit_is_not_given_back_twice_by_many_at_once(desk: Desk):
    desk.pay_again()
    (double,) = (r for r in desk.engine.receipts(desk.paid.ledger_id) if r.allocation == "credit")

    def ask(number: int) -> int:
        try:
            if number % 4 == 3:
                return desk.ops.request(receipt_id=double.receipt_id, reason="race").amount
            return desk.ops.request_credit("user-1", amount=7_000_000, reason="race").amount
        except BillingError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        granted = sum(pool.map(ask, range(8)))
    assert granted in {14_000_000, PRICE}  # twice seven of 19.99, or the receipt as a whole
    assert [c.free for c in desk.ops.credit("user-1")] == ([PRICE - 14_000_000] if granted == 14_000_000 else [])
    assert desk.books()["refunds"] == granted
    assert desk.balanced()


def test_one_of_two_who_agree_at_once_agrees(desk: Desk):
    desk.limit(1_000_000)
    desk.pay_again()
    refund = desk.engine.refunds(BOSS).request_credit("user-1", reason="large")
    assert refund.status == "requested"

    def agree(name: str) -> str:
        try:
            return desk.engine.refunds(Actor(name, BOSS.roles)).approve(refund.refund_id).approved_by or ""
        except BillingError:
            return ""

    def give_up(_: str) -> str:
        try:
            return str(desk.ops.cancel(refund.refund_id, reason="race").status)
        except BillingError:
            return ""

    with ThreadPoolExecutor(4) as pool:
        agreed = [name for name in pool.map(agree, ["a", "b", "c", "boss"]) if name]
        assert len(agreed) == 1
        assert desk.ops.refund(refund.refund_id).approved_by == agreed[0] != "boss"
        assert [c for c in pool.map(give_up, "xyz") if c] == ["cancelled"]
    items = desk.engine.finance(OPS).queue(state=None)
    assert [(i.state, i.ruling, i.decided_by) for i in items if i.refund_id] == [("decided", "refund", agreed[0])]
    assert [c.free for c in desk.ops.credit("user-1")] == [PRICE]
    assert desk.balanced()


def test_parts_of_a_customers_credit_add_up_to_the_limit_of_one_person(memory_desk: Desk):
    desk = memory_desk
    desk.limit(PRICE + 1_000_000)
    first, second = desk.pay_again(), desk.pay_again()
    assert first != second
    double = next(r for r in desk.engine.receipts(desk.paid.ledger_id) if r.allocation == "credit")
    assert desk.ops.request(receipt_id=double.receipt_id, reason="whole").status == "approved"
    parts = [desk.ops.request_credit("user-1", amount=600_000, reason="part") for _ in range(3)]
    assert [p.status for p in parts] == ["approved", "requested", "requested"]
    with pytest.raises(PermissionDenied):
        desk.ops.approve(parts[1].refund_id)
    with pytest.raises(PermissionDenied):
        desk.engine.refunds(Actor("ops", BOSS.roles)).approve(parts[1].refund_id)
    assert desk.engine.refunds(BOSS).approve(parts[1].refund_id).status == "approved"


def test_a_payment_in_parts_waits_for_its_order(memory_desk: Desk):
    desk = memory_desk
    offer = desk.shop.checkout("user-2", idempotency_key="k")
    desk.shop.chain.pay(offer.order, amount=5_000_000)
    desk.settle()
    (credit,) = desk.ops.credit("user-2")
    assert (credit.held, credit.free) == (5_000_000, 0)
    with pytest.raises(Conflict) as refused:
        desk.ops.request_credit("user-2", reason="asked")
    assert refused.value.field == "amount"
    desk.settle(1)
    desk.shop.settle(1, seconds=3600)
    assert desk.engine.order(offer.ledger_id).status == "expired"
    # The offer is over: the part goes back as the movement that it was, and completes nothing any more.
    with pytest.raises(Conflict):
        desk.ops.request_credit("user-2", reason="asked")
    (part,) = desk.engine.receipts(offer.ledger_id)
    refund = desk.ops.request(receipt_id=part.receipt_id, reason="asked")
    assert refund.amount == 5_000_000
    desk.shop.chain.pay(offer.order, amount=offer.amount - 5_000_000)
    desk.settle()
    assert desk.engine.order(offer.ledger_id).status == "expired"
    assert not desk.engine.access("user-2").allowed
    assert desk.balanced()


def test_a_payment_whose_money_goes_back_takes_no_orders_place(memory_desk: Desk):
    desk = memory_desk
    first = desk.sent
    desk.pay_again()
    refund = desk.ready_credit()
    desk.send(refund)
    desk.settle(6)
    (kept,) = (r for r in desk.engine.receipts(desk.paid.ledger_id) if r.allocation == "credit")
    assert kept.reason == "given_back"
    desk.lose(first)
    # The first payment is gone and the second went back: nothing is paid any more.
    assert desk.engine.order(desk.paid.ledger_id).status == "reversed"
    assert not desk.engine.access("user-1").allowed
    assert desk.books() == {}
    assert desk.balanced()
    desk.shop.chain.resend(first)
    desk.settle()
    assert desk.engine.order(desk.paid.ledger_id).status == "confirmed"
    assert desk.balanced()


def test_credit_of_which_nothing_goes_back_still_takes_the_orders_place(memory_desk: Desk):
    desk = memory_desk
    desk.pay_again()
    desk.settle(6)
    desk.lose(desk.sent)
    assert desk.engine.order(desk.paid.ledger_id).status == "confirmed"
    assert desk.ops.credit("user-1") == []
    assert desk.balanced()


def test_no_more_is_pinned_than_what_goes_back_needs(memory_desk: Desk):
    desk = memory_desk
    desk.pay_again()
    desk.pay_again()
    desk.ops.request_credit("user-1", amount=5, reason="a little")
    reasons = sorted(str(r.reason) for r in desk.engine.receipts(desk.paid.ledger_id) if r.allocation == "credit")
    assert reasons == ["duplicate", "given_back"]
    assert [i.kind for i in desk.engine.finance(OPS).queue()] == ["duplicate"]


@pytest.mark.parametrize(
    ("asked", "error", "field"),
    [
        ({"user_id": "user-9"}, NotFound, "user_id"),
        ({"user_id": ""}, InputError, "user_id"),
        ({"amount": PRICE + 1}, InputError, "amount"),
        ({"amount": 0}, InputError, "amount"),
        ({"network": "elsewhere"}, UnknownNetwork, "network"),
        ({"asset": "DAI"}, UnknownAsset, "asset"),
        ({"asset": "ETH"}, UnknownAsset, "asset"),
        ({"treasury": "0x" + "11" * 20}, InputError, "treasury"),
        ({"treasury": "0x11"}, InputError, "treasury"),
        ({"reason": ""}, InputError, "reason"),
    ],
)
def test_what_cannot_be_used_is_named(memory_desk: Desk, asked, error, field):
    memory_desk.pay_again()
    with pytest.raises(error) as refused:
        memory_desk.ops.request_credit(**({"user_id": "user-1", "reason": "asked"} | asked))
    assert refused.value.field == field
    assert list(memory_desk.ops.refunds()) == []


def test_credit_in_several_assets_is_asked_for_by_name(memory_desk: Desk):
    desk = memory_desk
    desk.pay_again()
    coin = desk.shop.buy("user-1", plan="pack", asset="ETH")
    desk.shop.chain.pay(coin.order)
    desk.settle()
    assert [c.asset.symbol for c in desk.ops.credit("user-1")] == ["tUSD", "ETH"]
    with pytest.raises(InputError) as refused:
        desk.ops.request_credit("user-1", reason="which")
    assert refused.value.field == "asset"
    refund = desk.ops.request_credit("user-1", asset="ETH", reason="the coin")
    assert (refund.asset.symbol, refund.amount) == ("ETH", coin.amount)
    assert desk.ops.request_credit("user-1", asset=desk.shop.token.token, reason="the token").amount == PRICE


def test_several_treasuries_are_asked_for_by_address(memory_desk: Desk):
    desk = memory_desk
    admin = desk.engine.admin(ADMIN)
    gateway = admin.gateways()[0]
    other = desk.shop.contract
    admin.create_gateway(slug="other", networks=["local"], signer=gateway.signer, treasuries={"local": other})
    desk.pay_again()
    with pytest.raises(InputError) as refused:
        desk.ops.request_credit("user-1", reason="which")
    assert refused.value.field == "treasury"
    assert desk.ops.request_credit("user-1", amount=1, treasury=other, reason="that one").treasury == other


def test_only_finance_gives_credit_back(memory_desk: Desk):
    memory_desk.pay_again()
    nobody = memory_desk.engine.refunds(Actor("nobody"))
    for forbidden in (lambda: nobody.request_credit("user-1", reason="mine"), lambda: nobody.credit("user-1")):
        with pytest.raises(PermissionDenied):
            forbidden()


def test_what_an_order_gave_back_is_not_credit_when_the_chain_moves_its_money(memory_desk: Desk):
    """An order was refunded; then its money turns out to be for a period that another order paid first."""
    purse = memory_desk.purse("user-1")
    (order,), (receipt,) = purse.orders, purse.receipts
    refund = memory_desk.ready()
    moved = attrs.evolve(
        purse,
        held=order.amount,
        orders=[attrs.evolve(order, status="reversed")],
        receipts=[attrs.evolve(receipt, allocation="credit", reason="period_paid")],
        refunds=[attrs.evolve(refund, amount=order.amount)],
    )
    assert moved.free() == 0
    assert attrs.evolve(moved, refunds=[attrs.evolve(refund, amount=5)]).free() == order.amount - 5
    assert attrs.evolve(moved, refunds=[attrs.evolve(refund, status="cancelled")]).free() == order.amount
