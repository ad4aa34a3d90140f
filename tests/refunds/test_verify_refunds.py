"""Verification bounds what went back by what came in, whatever let it go: each check is shown to bite."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refunds_bench import ALICE, BOB, BOSS, OPS, Desk
from test_refunds import stranger_money

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.domain.books.bookkeeping import Clerk
from evmbilling.domain.books.postings import book_refund
from evmbilling.domain.decisions import StoreMovement, StoreQueueItem, StoreRefund
from evmbilling.domain.payments.credit import Purse
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.refunds import requests as refund_requests
from evmbilling.errors import BillingError, Conflict
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.fake_chain import FakeChain
from evmbilling.testing.merchant import simulated_merchant
from sampling import EVERYTHING

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

PRICE = 19_990_000
START = datetime(2026, 1, 31, 12, tzinfo=UTC)


def found(desk: Desk) -> set[tuple[str, str]]:
    """Codes and subjects of what verification finds."""
    differences = [d for d in desk.engine.verify().differences if d.code != "unproved"]
    assert all(d.found and d.expected != d.found for d in differences if d.code.startswith("refund"))
    return {(d.code, d.subject.partition(":")[0]) for d in differences}


ORDER, RECEIPT = ("refund_exceeds_order", "order"), ("refund_exceeds_receipt", "receipt")
RECORD, EVIDENCE = ("refund_record_differs", "refund"), ("refund_evidence_differs", "refund")
CREDIT, ASSET = ("refund_exceeds_credit", "customer"), ("refunds_exceed_receipts", "asset")


def lend_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, nobody looks whether the money of a refund is there when it is agreed to or prepared."""
    monkeypatch.setattr("evmbilling.engine.refunds.refunds.check_covered", lambda unit, refund: None)


def twice_the_order(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refund_requests, "refundable_of_order", lambda order, receipts, refunds: order.amount)
    lend_cover(monkeypatch)
    for _ in range(2):
        desk.send(desk.ready())
        desk.settle()


def an_order_that_nobody_paid(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refund_requests, "refundable_of_order", lambda order, receipts, refunds: order.amount)
    lend_cover(monkeypatch)
    desk.shop.buy("user-2")
    offer = desk.shop.checkout("user-1", plan="pack", idempotency_key="unpaid")
    desk.send(desk.ready(ledger_id=offer.ledger_id))
    desk.settle()


def a_receipt_that_an_order_took(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.send(desk.ready())
    desk.settle()
    monkeypatch.setattr(refund_requests, "refundable_of_receipt", lambda receipt, order, purse: receipt.amount)
    lend_cover(monkeypatch)
    (receipt,) = desk.engine.receipts(desk.paid.ledger_id)
    desk.send(desk.ready(ledger_id=None, receipt_id=receipt.receipt_id))
    desk.settle()


def credit_that_is_not_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.pay_again()
    monkeypatch.setattr(Purse, "free", lambda self, releasing=None: PRICE)
    for amount in (PRICE - 1, PRICE):
        desk.send(desk.ready_credit(amount=amount))
        desk.settle()


def credit_and_the_receipt_behind_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.pay_again()
    double = next(r for r in desk.engine.receipts(desk.paid.ledger_id) if r.allocation == "credit")
    monkeypatch.setattr(Purse, "free", lambda self, releasing=None: PRICE)
    desk.send(desk.ready_credit())
    desk.send(desk.ready(ledger_id=None, receipt_id=double.receipt_id))
    desk.settle()


def money_that_the_chain_took_back(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lend_cover(monkeypatch)
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    desk.prove(refund)
    desk.shop.chain.reorganise(3)
    desk.settle(1)
    desk.ops.prepare(refund.refund_id)
    desk.send(desk.ops.refund(refund.refund_id))
    desk.settle()


def money_of_nobody_twice(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    item = stranger_money(desk)
    refund = desk.ops.request(receipt_id=item.receipt_id, reason="asked")
    with desk.engine._ports.storage.unit() as unit:
        again = attrs.evolve(
            unit.refund(refund.refund_id), refund_id="019c13ec-9e00-7d90-aa6b-0c8a58f2ad56", on_chain_id=b"\1" * 32
        )
        clerk = Clerk(now=desk.shop.clock.now(), new_id=desk.engine._ports.ids.new_id)
        unit.apply([StoreRefund(again), *book_refund(None, again, clerk)])
    lend_cover(monkeypatch)
    monkeypatch.setattr("evmbilling.engine.refunds.refunds.check_decided", lambda ports, unit, refund: None)
    for one in (refund, again):
        desk.prove(one, BOB)
        desk.ops.prepare(one.refund_id)
        desk.send(desk.ops.refund(one.refund_id))
        desk.settle()


BROKEN = {
    twice_the_order: {ORDER, CREDIT, ASSET},
    an_order_that_nobody_paid: {ORDER, CREDIT},
    a_receipt_that_an_order_took: {ORDER, CREDIT, ASSET},
    credit_that_is_not_there: {CREDIT},
    credit_and_the_receipt_behind_it: {CREDIT},
    money_that_the_chain_took_back: {ORDER, CREDIT, ASSET},
    money_of_nobody_twice: {RECEIPT, RECORD},
}


@pytest.mark.parametrize(("break_it", "expected"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_bound_that_does_not_hold_is_named(memory_desk: Desk, monkeypatch, break_it, expected):
    break_it(memory_desk, monkeypatch)
    assert found(memory_desk) == expected


def test_a_refund_written_by_hand_is_named_although_the_books_agree(memory_desk: Desk):
    """Row and postings fit each other; what came in, the log and the audit do not."""
    desk = memory_desk
    done = desk.ready(amount=5)
    desk.send(done)
    desk.settle()
    forged = attrs.evolve(
        desk.ops.refund(done.refund_id),
        refund_id="019c13ec-9e00-7d90-aa6b-0c8a58f2ad56",
        on_chain_id=b"\1" * 32,
        amount=PRICE,
        version=1,
    )
    with desk.engine._ports.storage.unit() as unit:
        order = unit.order(forged.ledger_id)
        clerk = Clerk(now=desk.shop.clock.now(), new_id=desk.engine._ports.ids.new_id)
        unit.apply([StoreRefund(forged), *book_refund(None, forged, clerk, order=order)])
    assert found(desk) == {ORDER, CREDIT, ASSET, RECORD, EVIDENCE}


def reasons(desk: Desk) -> list[tuple[str, str]]:
    return sorted((d.code, d.reason) for d in desk.engine.verify().differences if d.code != "unproved")


def rewrite(desk: Desk, refund_id: str, **changes: object) -> None:
    """Change a refund's row as somebody with a hand on the database does, in no way that the engine knows."""
    with desk.engine._ports.storage.unit() as unit:
        before = unit.refund(refund_id)
        unit.apply([StoreRefund(attrs.evolve(before, version=before.version + 1, **changes))])


AGREED = {
    "amount": {"amount": 4_999_999},
    "address": {"address": BOB.address},
    "requested_by": {"requested_by": "nobody"},
    "approved_by": {"approved_by": "nobody"},
    "status": {"status": RefundStatus.PREPARED},
    "treasury": {"treasury": BOB.address},
    "user_id": {"user_id": None},
    "on_chain_id": {"on_chain_id": b"\2" * 32},
    "reference": {"reference": b"\2" * 32},
}


@pytest.mark.fault("D22")
@pytest.mark.parametrize("name", AGREED)
def test_d22_a_refund_that_was_changed_before_it_is_sent_is_named(memory_desk: Desk, name):
    desk = memory_desk
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, amount=5_000_000, reason="asked")
    desk.prove(refund)
    assert reasons(desk) == []
    rewrite(desk, refund.refund_id, **AGREED[name])
    assert ("refund_record_differs", name) in reasons(desk)


@pytest.mark.fault("D22")
@pytest.mark.parametrize("name", AGREED)
def test_d22_nothing_is_prepared_from_a_row_that_nobody_decided(memory_desk: Desk, name):
    desk = memory_desk
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, amount=5_000_000, reason="asked")
    desk.prove(refund)
    rewrite(desk, refund.refund_id, **AGREED[name])
    before = reasons(desk)
    with pytest.raises(Conflict) as refused:
        desk.ops.prepare(refund.refund_id)
    assert (refused.value.field, refused.value.details["reason"]) == ("refund_id", name)
    assert reasons(desk) == before


@pytest.mark.fault("D22")
def test_d22_an_address_that_was_changed_is_named_whatever_was_written_down_after_it(memory_desk: Desk):
    desk = memory_desk
    refund = desk.ready(amount=5_000_000)
    rewrite(desk, refund.refund_id, address=BOB.address)
    assert reasons(desk) == [("refund_record_differs", "address")]
    with pytest.raises(Conflict):
        desk.ops.prepare(refund.refund_id)
    desk.ops.cancel(refund.refund_id, reason="copies the row into the audit")
    assert reasons(desk) == [("refund_record_differs", "address")]


@pytest.mark.fault("D22")
@pytest.mark.parametrize("approved_by", [None, "boss", OPS.user_id])
def test_d22_who_lets_a_refund_go_by_hand_gets_no_transaction_and_it_stays_named(
    memory_desk: Desk, monkeypatch, approved_by
):
    desk = memory_desk
    desk.limit(1)
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    desk.prove(refund)
    rewrite(desk, refund.refund_id, status=RefundStatus.APPROVED, approved_by=approved_by)
    with pytest.raises(Conflict) as refused:
        desk.ops.prepare(refund.refund_id)
    assert refused.value.details["reason"] in {"status", "approved_by"}
    monkeypatch.setattr("evmbilling.engine.refunds.refunds.check_decided", lambda ports, unit, refund: None)
    desk.ops.prepare(refund.refund_id)
    assert ("refund_record_differs", "status") in reasons(desk)


@pytest.mark.fault("D22")
def test_d22_a_refund_that_a_second_person_agreed_to_is_prepared(memory_desk: Desk):
    desk = memory_desk
    desk.limit(1)
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    desk.engine.refunds(BOSS).approve(refund.refund_id)
    desk.prove(refund, BOB)
    desk.prove(refund)
    first = desk.ops.prepare(refund.refund_id)
    assert desk.ops.prepare(refund.refund_id) == first
    assert reasons(desk) == []


@pytest.mark.fault("D22")
def test_d22_a_refund_that_waits_for_a_second_person_is_not_let_go_by_hand(desk: Desk):
    desk.limit(1)
    refund = desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    rewrite(desk, refund.refund_id, status=RefundStatus.APPROVED, approved_by="boss")
    assert reasons(desk) == [("refund_record_differs", "approved_by"), ("refund_record_differs", "status")]


SENT = {
    "block": lambda r: {"evidence": attrs.evolve(r.evidence, block_number=r.evidence.block_number + 1)},
    "content": lambda r: {"on_chain_id": b"\2" * 32} if r.via == "contract" else {"treasury": BOB.address},
    "status": lambda r: {"status": RefundStatus.PREPARED},
    "evidence_is_there": lambda r: {"evidence": None, "status": RefundStatus.CONFIRMING},
    "no_evidence": lambda r: {"identity": attrs.evolve(r.identity, tx_hash=b"\3" * 32)},
}


@pytest.mark.fault("D22")
@pytest.mark.sampled(strength=2)
@pytest.mark.parametrize("via", ["contract", "transfer"])
@pytest.mark.parametrize("reason", SENT)
def test_d22_a_refund_that_is_not_what_its_transaction_shows_is_named(desk: Desk, via, reason):
    done = desk.ready(amount=5_000_000, via=via)
    desk.send(done)
    desk.settle()
    assert reasons(desk) == []
    rewrite(desk, done.refund_id, **SENT[reason](desk.ops.refund(done.refund_id)))
    assert ("refund_evidence_differs", reason) in reasons(desk)


@pytest.mark.fault("D22")
@pytest.mark.parametrize("state", ["withdrawn", "decided"])
def test_d22_money_that_nobody_is_asked_about_is_named(desk: Desk, state):
    item = stranger_money(desk)
    assert reasons(desk) == []
    with desk.engine._ports.storage.unit() as unit:
        unit.apply([StoreQueueItem(attrs.evolve(item, state=state, version=item.version + 1))])
    assert reasons(desk) == [("queue_item_missing", "unknown_payer")]


@pytest.mark.fault("D22")
def test_d22_a_refund_that_nobody_is_asked_about_is_named(desk: Desk):
    desk.limit(1)
    desk.ops.request(ledger_id=desk.paid.ledger_id, reason="asked")
    (item,) = desk.engine.finance(OPS).queue()
    with desk.engine._ports.storage.unit() as unit:
        unit.apply([StoreQueueItem(attrs.evolve(item, state="withdrawn", version=item.version + 1))])
    assert reasons(desk) == [("queue_item_missing", "requested")]


@pytest.mark.fault("D22")
@pytest.mark.parametrize("kind", ["receipt", "suspense"])
def test_d22_a_transfer_that_says_to_be_what_its_receipt_is_not_is_named(desk: Desk, kind):
    stranger_money(desk)
    with desk.engine._ports.storage.unit() as unit:
        movement = next(m for m in unit.all_movements() if m.kind == kind)
        other = "suspense" if kind == "receipt" else "receipt"
        unit.apply([StoreMovement(attrs.evolve(movement, kind=other, version=movement.version + 1))])
    assert ("movement_class_differs", "kind") in reasons(desk)


def test_a_loss_is_named_until_somebody_has_looked_at_it(memory_desk: Desk):
    """The payment is given back, and then the chain takes the payment back."""
    desk = memory_desk
    payment = desk.sent
    refund = desk.ready()
    desk.send(refund)
    desk.settle(4)
    desk.lose(payment)
    assert desk.ops.refund(refund.refund_id).status == "done"
    assert found(desk) == {ORDER, CREDIT, ASSET}
    (item,) = desk.engine.finance(OPS).queue()
    assert item.kind == "reversed"
    desk.engine.finance(OPS).acknowledge(item.item_id, note="written down")
    assert found(desk) == set()
    desk.shop.chain.resend(payment)
    desk.settle()
    assert found(desk) == set()


@pytest.mark.parametrize("way", ["credit", "receipt", "nobody"])
def test_a_loss_of_what_no_order_took_asks_a_person_too(memory_desk: Desk, way):
    desk = memory_desk
    if way == "nobody":
        stranger_money(desk)
        payment = desk.mined()[-1]
        with desk.engine._ports.storage.unit(write=False) as unit:
            (lost,) = unit.unmatched_receipts()
    else:
        payment = desk.pay_again()
        lost = next(r for r in desk.engine.receipts(desk.paid.ledger_id) if r.allocation == "credit")
    if way == "credit":
        refund = desk.ready_credit()
    else:
        refund = desk.ops.request(receipt_id=lost.receipt_id, reason="asked")
        desk.prove(refund, BOB if way == "nobody" else ALICE)
        desk.ops.prepare(refund.refund_id)
        refund = desk.ops.refund(refund.refund_id)
    desk.send(refund)
    desk.settle(4)
    desk.lose(payment)
    assert desk.ops.refund(refund.refund_id).status == "done"
    assert found(desk) == {"credit": {CREDIT}, "receipt": {CREDIT, RECEIPT}, "nobody": {RECEIPT}}[way]
    item = next(i for i in desk.engine.finance(OPS).queue() if i.kind == "reversed")
    desk.engine.finance(OPS).acknowledge(item.item_id)
    assert found(desk) == set()


def test_credit_that_is_only_promised_is_no_loss(memory_desk: Desk):
    """What the chain takes back was promised, not sent: what was sent is still covered by the other payment."""
    desk = memory_desk
    desk.pay_again()
    later = desk.pay_again()
    desk.send(desk.ready_credit(amount=5))
    desk.settle(4)
    promise = desk.ops.request_credit("user-1", reason="the rest")
    assert promise.amount == 2 * PRICE - 5
    desk.lose(later)
    assert desk.books()["customer_credit"] == -PRICE
    assert found(desk) == set()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pay"), st.sampled_from([5_000_000, PRICE, PRICE + 7_000_000])),
        st.tuples(st.just("again"), st.sampled_from([3_000_000, PRICE])),
        st.tuples(st.just("order"), st.sampled_from([None, 4_000_000, PRICE])),
        st.tuples(st.just("receipt"), st.integers(0, 9)),
        st.tuples(st.just("credit"), st.sampled_from([None, 2_000_000, PRICE])),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("send"), st.integers(0, 9)),
        st.tuples(st.just("late"), st.just(0)),
    ),
    min_size=3,
    max_size=14,
)


def act(desk: Desk, step: tuple[str, int | None], number: int) -> None:
    """Do one thing of those that people do; what is refused has not happened."""
    kind, value = step
    orders = desk.engine.orders("user-1")
    refunds = list(desk.ops.refunds())
    if kind == "pay":
        desk.shop.chain.pay(desk.shop.checkout("user-1", plan="pack", idempotency_key=f"p{number}").order, amount=value)
    elif kind == "again":
        desk.shop.chain.pay(orders[0], amount=value)
    elif kind == "order":
        desk.ops.request(ledger_id=orders[number % len(orders)].ledger_id, amount=value, reason="asked")
    elif kind == "receipt":
        receipts = [r for o in orders for r in desk.engine.receipts(o.ledger_id)]
        desk.ops.request(receipt_id=receipts[value % len(receipts)].receipt_id, reason="asked")
    elif kind == "credit":
        desk.ops.request_credit("user-1", amount=value, reason="asked")
    elif kind == "cancel" and refunds:
        desk.ops.cancel(refunds[value % len(refunds)].refund_id, reason="mistake")
    elif kind == "send" and refunds:
        refund = desk.prove(refunds[value % len(refunds)])
        desk.ops.prepare(refund.refund_id)
        desk.send(desk.ops.refund(refund.refund_id))
    elif kind == "late":
        desk.shop.settle(1, seconds=3600)


@given(steps=STEPS)
@settings(max_examples=30 if EVERYTHING else 6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_asked_for_no_more_goes_back_than_came_in(steps):
    clock = FrozenClock(FakeChain(1, start=START).head.timestamp)
    desk = Desk(simulated_merchant(storage=MemoryStorage(clock), chain=FakeChain(31337, start=START)))
    for number, step in enumerate(steps):
        with suppress(BillingError):
            act(desk, step, number)
        desk.settle()
    books = desk.books()
    assert desk.balanced()
    assert books.get("customer_credit", 0) >= 0
    assert -books.get("treasury", 0) >= 0
    refunds = list(desk.ops.refunds(limit=1000))
    open_ = {RefundStatus.REQUESTED, RefundStatus.APPROVED, RefundStatus.PREPARED}
    promised = [r for r in refunds if r.status in open_]
    # Whoever carries out everything that was promised finds the money for it.
    assert sum(r.amount for r in promised) <= -books.get("treasury", 0)
