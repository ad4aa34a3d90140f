"""A charge on its way, and its period is paid another way, or its subscription ends: nothing is taken for nothing."""

from __future__ import annotations

import pytest
from charge_bench import DAY, OPERATOR, PAYER, PRICE, USER, OnFake

from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.selling.orders import Order
from evmbilling.testing.merchant import ADMIN


def with_an_old_offer(bench: OnFake, *, late: str = "credit") -> Order:
    """A customer whose charge is requested, and who once checked out the same period from another wallet."""
    bench.engine.admin(ADMIN).update_gateway("main", version=2, misfits=MisfitPolicy(late=late))
    bench.subscribe()
    bench.give()
    next_at = bench.held().next_charge_at
    assert next_at is not None
    bench.machine.move_to(next_at - DAY)
    bench.read()
    bench.engine.run_renewals()
    other = bench.engine.checkout(plan="life", user_id=USER, wallet=OPERATOR.address, idempotency_key="second").order
    bench.go(0.5)
    assert bench.engine.order(other.ledger_id).order.status == "expired"
    assert bench.requested().state == "requested"
    return other


def mark(bench: OnFake, order: Order) -> None:
    bench.engine.finance(ADMIN).mark_paid(order.ledger_id, reason="cash")


@pytest.mark.parametrize("queued", [False, True])
def test_a_charge_is_not_sent_for_a_period_that_is_marked_as_paid_by_another_offer(
    simple: OnFake, queued: bool
) -> None:
    bench = simple
    other = with_an_old_offer(bench)
    before = bench.balance(PAYER.address)
    if queued:
        assert bench.engine.run_charges().queued == 1
    mark(bench, other)
    bench.settle()
    bench.settle()
    assert bench.balance(PAYER.address) == before
    assert [(c.state, c.reason) for c in bench.charges()] == [("failed", "withdrawn")]
    (renewal,) = bench.renewals()
    assert (renewal.status, renewal.failure_reason, bench.held().paid_periods) == ("cancelled", "period_paid", 2)
    assert bench.told("payment.failed") == []
    goes_on(bench)


@pytest.mark.parametrize("queued", [False, True])
def test_a_charge_is_not_sent_while_another_offer_of_its_period_is_being_paid(simple: OnFake, queued: bool) -> None:
    bench = simple
    other = with_an_old_offer(bench, late="order")
    if queued:
        assert bench.engine.run_charges().queued == 1
    bench.chain.pay(other)
    bench.mine()
    bench.read()
    assert bench.engine.order(other.ledger_id).order.status == "confirming"
    before = bench.balance(PAYER.address)
    if not queued:
        assert dict(bench.engine.run_charges().left) == {"confirming": 1}
    bench.settle()
    bench.settle()
    assert (bench.balance(PAYER.address), bench.held().paid_periods) == (before, 2)
    assert [c.state for c in bench.charges()] == ["failed"]
    assert bench.renewals()[0].status == "cancelled"
    assert bench.told("payment.failed") == []
    goes_on(bench)


def goes_on(bench: OnFake) -> None:
    """The next period is charged as ever."""
    bench.due()
    bench.settle()
    assert (bench.held().paid_periods, bench.renewals()[-1].status) == (3, "confirmed")
    assert bench.differences() == []


def taken_twice(bench: OnFake) -> None:
    """A charge that was signed comes for a period that somebody has marked as paid meanwhile."""
    other = with_an_old_offer(bench)
    before = bench.balance(PAYER.address)
    bench.engine.run_charges()
    bench.engine.relay()
    mark(bench, other)
    bench.settle()
    (receipt,) = bench.engine.receipts(bench.renewals()[0].ledger_id)
    assert (receipt.allocation, receipt.reason) == ("credit", "period_paid")
    assert before - bench.balance(PAYER.address) == PRICE


def test_the_next_period_is_charged_though_the_last_charge_became_credit(simple: OnFake) -> None:
    bench = simple
    taken_twice(bench)
    assert bench.renewals()[0].status == "cancelled"
    goes_on(bench)


def test_who_leaves_is_gone_in_time_though_the_last_charge_became_credit(simple: OnFake) -> None:
    bench = simple
    taken_twice(bench)
    bench.engine.cancel_subscription(bench.held().subscription_id)
    until = bench.held().paid_until
    assert until is not None
    bench.until(until)
    assert (bench.held().status, bench.held().paid_periods) == ("ended", 2)
    assert bench.differences() == []


def sent(bench: OnFake) -> bytes:
    """A customer whose charge is in a block that does not count yet; return its transaction."""
    bench.subscribe()
    bench.give()
    bench.requested()
    bench.engine.run_charges()
    bench.engine.relay()
    (tx,) = bench.chain.pending
    bench.mine()
    bench.read()
    return tx


def left(bench: OnFake) -> list[tuple[str, str, str | None]]:
    receipts = bench.engine.receipts(bench.renewals()[-1].ledger_id)
    return [(str(r.status), r.allocation, r.reason) for r in receipts]


def test_a_charge_that_is_seen_when_its_subscription_ends_is_credit(simple: OnFake) -> None:
    bench = simple
    sent(bench)
    assert left(bench) == [("seen", "order", None)]
    bench.engine.cancel_subscription(bench.held().subscription_id, when="now")
    bench.settle()
    bench.settle()
    assert left(bench) == [("credited", "credit", "subscription_ended")]
    assert (bench.held().status, bench.held().paid_periods, bench.renewals()[-1].status) == ("ended", 1, "cancelled")
    assert [told["reason"] for told in bench.told("payment.unmatched")] == ["subscription_ended"]
    assert bench.differences() == []


@pytest.mark.parametrize("counted", [False, True])
def test_a_charge_that_the_chain_had_taken_back_when_its_subscription_ended_is_credit(
    simple: OnFake, counted: bool
) -> None:
    """Who owes leaves at once: nothing was paid when they left."""
    bench = simple
    tx = sent(bench)
    if counted:
        bench.settle()
        assert bench.held().paid_periods == 2
    bench.chain.reorganise(4 if counted else 1)
    bench.mine(2)
    bench.read()
    bench.engine.run_renewals()
    bench.engine.cancel_subscription(bench.held().subscription_id, when="now")
    assert (bench.held().status, bench.told("payment.unmatched")) == ("ended", [])
    bench.chain.resend(tx)
    bench.settle()
    bench.settle()
    assert left(bench) == [("credited", "credit", "subscription_ended")]
    assert bench.renewals()[-1].status == ("reversed" if counted else "cancelled")
    assert [told["reason"] for told in bench.told("payment.unmatched")] == ["subscription_ended"]
    assert bench.differences() == []


def test_what_counted_when_a_subscription_ended_stays_its_own_through_a_reorganisation(simple: OnFake) -> None:
    bench = simple
    tx = sent(bench)
    bench.settle()
    bench.engine.cancel_subscription(bench.held().subscription_id, when="now")
    bench.chain.reorganise(5)
    bench.mine(2)
    bench.read()
    bench.chain.resend(tx)
    bench.settle()
    bench.settle()
    assert left(bench) == [("credited", "order", None)]
    assert (bench.held().status, bench.held().paid_periods) == ("ended", 2)
    assert bench.differences() == []


@pytest.mark.parametrize("pulled", [True, False])
def test_an_order_whose_payment_never_came_back_expires_and_stops_no_other(simple: OnFake, pulled: bool) -> None:
    """Whether its charge was what had paid it, or had failed because it was paid by hand."""
    bench = simple
    if pulled:
        sent(bench)
    else:
        bench.subscribe()
        bench.give()
        bench.requested()
        bench.pay(bench.renewals()[-1])
    bench.settle()
    bench.settle()
    bench.allow(0)
    (order,) = bench.renewals()
    assert (order.status, order.pull) == ("confirmed", "submitted" if pulled else "failed")
    bench.chain.reorganise(8)
    bench.engine.cancel_subscription(bench.held().subscription_id)
    other = bench.engine.checkout(plan="life", user_id="bob", wallet=OPERATOR.address, idempotency_key="first")
    bench.until(order.deadline + DAY)
    assert [bench.engine.order(o.ledger_id).order.status for o in (order, other)] == ["expired", "expired"]
    assert bench.differences() == []
