"""Money on its way back: bounded, agreed to, addressed by its owner, and done when the chain says so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import attrs
import pytest
from refunds_bench import ALICE, BOB, BOSS, OPS, Desk

from evmbilling.domain.actors import Actor
from evmbilling.errors import BillingError, ChallengeRefused, Conflict, InputError, NotFound, PermissionDenied
from evmbilling.testing.merchant import ADMIN

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""


@pytest.mark.parametrize("via", ["contract", "transfer"])
def test_a_refund_is_done_when_the_chain_says_so(desk: Desk, via):
    refund = desk.ready(amount=5_000_000, via=via)
    assert refund.status == "prepared"
    desk.send(refund)
    desk.settle(1)
    assert desk.ops.refund(refund.refund_id).status == "confirming"
    desk.settle(2)
    done = desk.ops.refund(refund.refund_id)
    assert (done.status, done.amount) == ("done", 5_000_000)
    assert desk.engine.order(desk.paid.ledger_id).status in ("confirmed", "final")  # refunded is an amount, not a state
    assert desk.engine.access("user-1").allowed
    assert desk.kinds() == ["refund"]
    types = [e.type for e in desk.engine.admin(ADMIN).events(limit=100)]
    assert types.count("billing.refund.done.v1") == 1
    assert desk.balanced()


@pytest.mark.parametrize("via", ["contract", "transfer"])
def test_a_reorg_undoes_a_refund_and_brings_it_back(desk: Desk, via):
    refund = desk.ready(via=via)
    tx = desk.send(refund)
    desk.settle(3)
    assert desk.ops.refund(refund.refund_id).status == "done"
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    undone = desk.ops.refund(refund.refund_id)
    assert (undone.status, undone.evidence) == ("confirming", None)
    assert desk.kinds() == []
    assert desk.balanced()
    desk.shop.chain.resend(tx)
    desk.settle(3)
    assert desk.ops.refund(refund.refund_id).status == "done"
    assert desk.kinds() == ["refund"]
    types = [e.type for e in desk.engine.admin(ADMIN).events(limit=100) if "refund" in e.type]
    assert types == ["billing.refund.done.v1", "billing.refund.reversed.v1", "billing.refund.done.v1"]
    assert desk.balanced()


def test_parts_never_exceed_the_whole(desk: Desk):
    whole = desk.paid.amount
    first = desk.ops.request(ledger_id=desk.paid.ledger_id, amount=whole - 1, reason="part")
    with pytest.raises(InputError) as refused:
        desk.ops.request(ledger_id=desk.paid.ledger_id, amount=2, reason="part")
    assert refused.value.field == "amount"
    rest = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="the rest")
    assert rest.amount == 1
    with pytest.raises(Conflict):
        desk.ops.request(ledger_id=desk.paid.ledger_id, reason="again")
    desk.ops.cancel(first.refund_id, reason="mistake")
    assert desk.ops.request(ledger_id=desk.paid.ledger_id, reason="again").amount == whole - 1


@pytest.mark.both_databases
@pytest.mark.fault("B17")
def test_b17_refunds_at_once_never_exceed_what_was_paid(desk: Desk):
    def ask(_):
        try:
            return desk.ops.request(ledger_id=desk.paid.ledger_id, amount=7_000_000, reason="race").amount
        except BillingError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        granted = sum(pool.map(ask, range(8)))
    assert granted == 14_000_000  # of 19.99


@pytest.mark.fault("B26")
def test_b26_only_the_owner_says_where_it_goes(desk: Desk):
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    assert refund.address is None  # the paying address is not taken by itself
    with pytest.raises(Conflict):
        desk.ops.prepare(refund.refund_id)
    with pytest.raises(NotFound):
        desk.prove(refund, user_id="user-2")
    with pytest.raises(ChallengeRefused):
        desk.engine.use_refund_wallet(refund.refund_id, user_id="user-1", wallet=BOB.address)
    assert desk.prove(refund).address == ALICE.address
    payload = desk.ops.prepare(refund.refund_id)
    assert bytes.fromhex(ALICE.address[2:]) in payload.data
    with pytest.raises(Conflict):
        desk.prove(refund, BOB)
    assert desk.ops.prepare(refund.refund_id) == payload


def test_above_the_limit_a_second_person_agrees(desk: Desk):
    admin = desk.engine.admin(ADMIN)
    gateway = admin.gateways()[0]
    policy = attrs.evolve(gateway.misfits, approval_above={"tUSD": 1_000_000})
    admin.update_gateway("main", version=gateway.version, misfits=policy)
    refund = desk.engine.refunds(BOSS).request(ledger_id=desk.paid.ledger_id, reason="large")
    assert refund.status == "requested"
    assert [i.kind for i in desk.engine.finance(OPS).queue()] == ["refund_approval"]
    desk.prove(refund)
    with pytest.raises(BillingError):
        desk.ops.prepare(refund.refund_id)
    with pytest.raises(PermissionDenied):
        desk.engine.refunds(BOSS).approve(refund.refund_id)
    with pytest.raises(PermissionDenied):
        desk.ops.approve(refund.refund_id)
    other = Actor("second", BOSS.roles)
    assert desk.engine.refunds(other).approve(refund.refund_id).approved_by == "second"
    assert list(desk.engine.finance(OPS).queue()) == []
    assert desk.ops.prepare(refund.refund_id).to == desk.shop.contract


def test_a_refund_that_was_sent_otherwise_is_the_owners_own_transfer(desk: Desk):
    refund = desk.ready(amount=3_000_000, via="transfer")
    desk.send(refund, amount=2_999_999)
    desk.send(refund, address=BOB.address)
    desk.settle(3)
    assert desk.ops.refund(refund.refund_id).status == "prepared"
    assert desk.kinds() == ["external", "external"]
    assert desk.balanced()


def test_one_transfer_is_one_refund(desk: Desk):
    refund = desk.ready(amount=3_000_000, via="transfer")
    desk.send(refund)
    desk.send(refund)
    desk.settle(3)
    assert desk.ops.refund(refund.refund_id).status == "done"
    assert desk.kinds() == ["external", "refund"]
    assert desk.balanced()


def test_money_that_came_twice_is_given_back_from_the_customers_credit(desk: Desk):
    desk.shop.chain.pay(desk.paid.order)
    desk.settle(3)
    receipts = desk.engine.receipts(desk.paid.ledger_id)
    double = next(r for r in receipts if r.allocation == "credit")
    refund = desk.ready(ledger_id=None, receipt_id=double.receipt_id)
    assert (refund.amount, refund.via) == (double.amount, "transfer")
    desk.send(refund)
    desk.settle(3)
    assert desk.ops.refund(refund.refund_id).status == "done"
    with pytest.raises(Conflict):
        desk.ops.request(receipt_id=double.receipt_id, reason="again")
    assert desk.balanced()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "ledger_id"),
        ({"ledger_id": "x", "receipt_id": "y"}, "ledger_id"),
        ({"ledger_id": "019c13ec-9e00-7d90-aa6b-0c8a58f2ad56"}, "ledger_id"),
        ({"receipt_id": "019c13ec-9e00-7d90-aa6b-0c8a58f2ad56"}, "receipt_id"),
        ({"ledger_id": "PAID", "amount": 0}, "amount"),
        ({"ledger_id": "PAID", "amount": 1.5}, "amount"),
        ({"ledger_id": "PAID", "amount": 2**256}, "amount"),
        ({"ledger_id": "PAID", "reason": "two\nlines"}, "reason"),
        ({"ledger_id": "PAID", "via": "pigeon"}, "via"),
    ],
)
def test_what_cannot_be_used_is_named(desk: Desk, asked, field):
    values = {"reason": "asked"} | asked
    if values.get("ledger_id") == "PAID":
        values["ledger_id"] = desk.paid.ledger_id
    with pytest.raises(InputError) as refused:
        desk.ops.request(**values)
    assert refused.value.field == field
    assert list(desk.ops.refunds()) == []


def test_an_unpaid_order_has_nothing_to_give_back(desk: Desk):
    offer = desk.shop.checkout("user-2", idempotency_key="k")
    with pytest.raises(Conflict):
        desk.ops.request(ledger_id=offer.ledger_id, reason="asked")
    with pytest.raises(PermissionDenied):
        desk.engine.refunds(Actor("nobody")).request(ledger_id=desk.paid.ledger_id, reason="asked")


def credit_receipt(desk: Desk):
    desk.shop.chain.pay(desk.paid.order)
    desk.settle(3)
    return next(r for r in desk.engine.receipts(desk.paid.ledger_id) if r.allocation == "credit")


def stranger_money(desk: Desk, amount: int = 19_990_000):
    """A transfer from nobody that we know: suspense, with an item."""
    asset = desk.shop.token
    desk.shop.chain.transfer(asset.token, BOB.address, desk.shop.treasury, amount)
    desk.settle(3)
    (item,) = desk.engine.finance(OPS).queue()
    return item


def test_money_that_goes_back_counts_for_nothing_else(desk: Desk):
    item = stranger_money(desk)
    refund = desk.ops.request(receipt_id=item.receipt_id, reason="asked")
    assert desk.engine.finance(OPS).item(item.item_id).ruling == "refund"
    finance = desk.engine.finance(OPS)
    offer = desk.shop.checkout("user-3", idempotency_key="k")
    for ruling in (
        lambda: finance.assign(item.item_id, offer.ledger_id),
        lambda: finance.credit(item.item_id, "user-1"),
        lambda: finance.write_off(item.item_id),
        lambda: desk.ops.request(receipt_id=item.receipt_id, reason="again"),
    ):
        with pytest.raises(Conflict):
            ruling()
    desk.prove(refund, BOB)  # nobody's money goes back to the wallet that sent it
    desk.ops.prepare(refund.refund_id)
    desk.send(desk.ops.refund(refund.refund_id))
    desk.settle(3)
    assert desk.ops.refund(refund.refund_id).status == "done"
    with pytest.raises(Conflict):
        finance.assign(item.item_id, offer.ledger_id)
    assert list(finance.queue()) == []
    assert desk.balanced()


def test_a_refund_that_is_given_up_leaves_the_money_to_be_decided_again(desk: Desk):
    item = stranger_money(desk)
    refund = desk.ops.request(receipt_id=item.receipt_id, reason="asked")
    desk.ops.cancel(refund.refund_id, reason="mistake")
    assert [i.item_id for i in desk.engine.finance(OPS).queue()] == [item.item_id]
    assert desk.balanced()
    assert desk.engine.finance(OPS).credit(item.item_id, "user-1").ruling == "credit"
    assert desk.balanced()


def test_credit_that_is_given_up_stays_credit(desk: Desk):
    double = credit_receipt(desk)
    refund = desk.ops.request(receipt_id=double.receipt_id, reason="asked")
    desk.ops.cancel(refund.refund_id, reason="mistake")
    after = next(r for r in desk.engine.receipts(desk.paid.ledger_id) if r.receipt_id == double.receipt_id)
    assert after.allocation == "credit"
    assert desk.ops.request(receipt_id=double.receipt_id, reason="after all").amount == double.amount
    with pytest.raises(BillingError):
        desk.ops.request(receipt_id=double.receipt_id, amount=1, reason="part")
    assert desk.balanced()


def test_two_refunds_that_look_alike_are_each_found(desk: Desk):
    twins = [desk.ready(amount=5_000_000, via="transfer") for _ in range(2)]
    for twin in twins:
        desk.send(twin)
    desk.settle(3)
    assert [desk.ops.refund(t.refund_id).status for t in twins] == ["done", "done"]
    assert desk.kinds() == ["refund", "refund"]
    assert desk.ops.request(ledger_id=desk.paid.ledger_id, reason="rest").amount == desk.paid.amount - 10_000_000
    assert desk.balanced()


def test_what_the_chain_took_back_is_not_given_back(desk: Desk):
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    desk.prove(refund)
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    assert desk.engine.order(desk.paid.ledger_id).status == "reversed"
    with pytest.raises(Conflict):
        desk.ops.prepare(refund.refund_id)
    assert desk.balanced()


def test_parts_add_up_to_the_limit_of_one_person(desk: Desk):
    admin = desk.engine.admin(ADMIN)
    gateway = admin.gateways()[0]
    policy = attrs.evolve(gateway.misfits, approval_above={"tUSD": 1_000_000})
    admin.update_gateway("main", version=gateway.version, misfits=policy)
    states = [desk.ops.request(ledger_id=desk.paid.ledger_id, amount=400_000, reason="part").status for _ in range(4)]
    assert states == ["approved", "approved", "requested", "requested"]


def test_parts_of_several_orders_and_of_credit_add_up_to_the_limit_of_one_person(desk: Desk):
    """One customer's money in one asset, however it is split, and whoever asks."""
    desk.limit(1_000_000)
    orders = [desk.paid.ledger_id, desk.shop.buy("user-1").ledger_id, desk.shop.buy("user-1").ledger_id]
    desk.pay_again()
    other = desk.shop.buy("user-2")
    first = desk.ops.request(ledger_id=orders[0], amount=600_000, reason="a part")
    assert first.status == "approved"
    assert desk.ops.request(ledger_id=other.ledger_id, amount=600_000, reason="somebody else").status == "approved"
    waits = desk.ops.request(ledger_id=orders[1], amount=600_000, reason="the next part")
    assert waits.status == "requested"
    assert desk.ops.request_credit("user-1", amount=600_000, reason="of the credit").status == "requested"
    assert desk.ops.request(ledger_id=orders[2], amount=400_000, reason="up to the limit").status == "approved"
    assert desk.engine.refunds(BOSS).request(ledger_id=orders[2], amount=1, reason="over it").status == "requested"
    # What a second person has agreed to is not one person's any more, and what was given up unsent is nobody's.
    desk.engine.refunds(BOSS).approve(waits.refund_id)
    assert desk.ops.request(ledger_id=orders[1], amount=1, reason="over it still").status == "requested"
    desk.ops.cancel(first.refund_id, reason="not asked for any more")
    assert desk.ops.request(ledger_id=orders[1], amount=600_000, reason="in its place").status == "approved"
    assert desk.balanced()


def test_a_write_off_whose_money_disappeared_is_a_conflict(desk: Desk):
    admin = desk.engine.admin(ADMIN)
    gateway = admin.gateways()[0]
    policy = attrs.evolve(gateway.misfits, approval_above={"tUSD": 1})
    admin.update_gateway("main", version=gateway.version, misfits=policy)
    item = stranger_money(desk)
    desk.engine.finance(OPS).write_off(item.item_id)
    approval = next(i for i in desk.engine.finance(OPS).queue() if i.kind == "write_off_approval")
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    with pytest.raises(BillingError):
        desk.engine.finance(BOSS).approve_write_off(approval.item_id)
    assert desk.balanced()


def test_money_that_an_order_took_goes_back_through_the_order_only(desk: Desk):
    (receipt,) = desk.engine.receipts(desk.paid.ledger_id)
    with pytest.raises(Conflict):
        desk.ops.request(receipt_id=receipt.receipt_id, reason="round the side")
    assert list(desk.ops.refunds()) == []
    assert desk.engine.access("user-1").allowed
    assert desk.balanced()


def test_money_of_nobody_that_went_back_though_its_refund_was_given_up_is_nobody_elses(memory_desk: Desk):
    desk = memory_desk
    item = stranger_money(desk)
    refund = desk.ops.request(receipt_id=item.receipt_id, reason="asked")
    desk.prove(refund, BOB)
    desk.ops.prepare(refund.refund_id)
    desk.ops.cancel(refund.refund_id, reason="mistake")
    desk.send(desk.ops.refund(refund.refund_id))
    desk.settle(3)
    assert desk.ops.refund(refund.refund_id).status == "done"
    offer, finance = desk.shop.checkout("user-2", idempotency_key="k"), desk.engine.finance(OPS)
    for rule in (
        lambda: finance.assign(item.item_id, offer.ledger_id),
        lambda: finance.credit(item.item_id, "user-2"),
        lambda: finance.write_off(item.item_id),
        lambda: desk.ops.request(receipt_id=item.receipt_id, reason="again"),
    ):
        with pytest.raises(Conflict):
            rule()
    assert "suspense" not in desk.books()
