"""One charge, step by step: what stands in its way, what becomes of it on its way, and that it happens once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest
from charge_bench import CONTRACT, DAY, OPERATOR, PAYER, PRICE, USER, OnFake

from evmbilling.domain.mandates.charges import REASK
from evmbilling.domain.sending.transmissions import TransmissionStatus
from evmbilling.domain.states import PAID_ORDERS, OrderStatus
from evmbilling.testing.merchant import ADMIN, IRREVERSIBLE_DEPTH, plan_fields, wallet_of

MINUTE = timedelta(minutes=1)


def ready(bench: OnFake, **terms) -> OnFake:
    """A customer with a mandate, whose first charge is requested."""
    bench.subscribe()
    bench.give(**terms)
    assert bench.requested().state == "requested"
    return bench


def short_of_money(bench: OnFake) -> None:
    token = bench.merchant.token.token
    held = bench.balance(PAYER.address)
    bench.chain.transfer(token, PAYER.address, wallet_of("elsewhere"), held - PRICE + 1)
    bench.mine()


def cancelled(bench: OnFake) -> None:
    bench.engine.mandates.cancel(USER, bench.engine.mandates.list(USER)[0].mandate_id)


STANDS_IN_THE_WAY: dict[str, Callable[[OnFake], None]] = {
    "balance": short_of_money,
    "allowance": lambda b: b.allow(PRICE - 1),
    "paused": lambda b: b.chain.rules.paused.add(CONTRACT),
    "operator_refused": lambda b: b.chain.rules.operators.update({CONTRACT: frozenset({wallet_of("other")})}),
    "deny_listed": lambda b: b.chain.rules.denied.add((b.merchant.token.token, PAYER.address)),
    "revoked": lambda b: b.revoke(b.engine.mandates.list(USER)[0]),
    "cancelled": cancelled,
}


@pytest.mark.parametrize("reason", STANDS_IN_THE_WAY)
def test_what_stands_in_the_way_fails_it_with_its_reason_before_anything_is_sent(simple: OnFake, reason: str) -> None:
    bench = ready(simple)
    STANDS_IN_THE_WAY[reason](bench)
    report = bench.engine.run_charges()
    assert (report.looked, report.queued, dict(report.failed), dict(report.left)) == (1, 0, {reason: 1}, {})
    assert bench.sent() == []
    order = bench.renewals()[-1]
    assert (order.status, order.failure_reason) == ("failed", reason)
    assert [t["reason"] for t in bench.told("payment.failed")] == [reason]
    bench.engine.run_renewals()
    order = bench.renewals()[-1]
    asked = reason in REASK | {"deny_listed"}
    assert (order.status, order.retry_at is None, order.claim) == ("pending", asked, "owed")
    assert bench.engine.run_charges().looked == 0


def test_one_that_another_worker_carries_out_while_the_chain_is_asked_is_left_to_it(
    simple: OnFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ready(simple)
    asked, reports = type(bench.chain).charge_state, []

    def ask(chain: Any, *about: Any) -> Any:
        state = asked(chain, *about)
        if not reports:
            reports.append(None)
            reports[0] = bench.engine.run_charges()
        return state

    monkeypatch.setattr(type(bench.chain), "charge_state", ask)
    slow = bench.engine.run_charges()
    assert (reports[0].queued, slow.queued, dict(slow.left)) == (1, 0, {"busy": 1})
    assert len(bench.sent()) == 1


def test_a_cap_that_grows_by_itself_is_tried_again(simple: OnFake) -> None:
    bench = simple
    bench.plan("weekly", interval="week", dunning={"arrears": "accumulate"})
    bench.subscribe("weekly")
    bench.go(15)
    assert [o.claim for o in bench.renewals()] == ["owed", "owed"]
    bench.give()
    for _ in range(10):
        bench.go(1)
        bench.settle()
    # A mandate allows one charge for each week that has begun, and two were owed at once.
    assert "cap_reached" in {c.reason for c in bench.charges()}
    assert sum(o.status in PAID_ORDERS for o in bench.renewals()) == 2
    assert {s.failure_reason for s in bench.sent()} == {None}
    assert bench.differences() == []


def test_a_node_that_does_not_answer_fails_nothing(simple: OnFake) -> None:
    bench = ready(simple)
    bench.chain.fail()
    for _ in range(3):
        assert dict(bench.engine.run_charges().left) == {"rpc_unknown": 1}
    assert (bench.charges()[-1].state, bench.renewals()[-1].status) == ("requested", "submitted")
    bench.chain.heal()
    assert bench.engine.run_charges().queued == 1
    bench.engine.relay()
    bench.settle()
    assert bench.renewals()[-1].status == "confirmed"


def test_what_was_paid_by_hand_meanwhile_is_not_charged(simple: OnFake) -> None:
    bench = ready(simple)
    order = bench.renewals()[-1]
    bench.pay(order)
    assert dict(bench.engine.run_charges().left) == {"reference_used": 1}
    bench.read()
    assert dict(bench.engine.run_charges().left) == {"confirming": 1}
    bench.settle()
    assert bench.renewals()[-1].status == "confirmed"
    charge = bench.charges()[-1]
    assert (charge.state, charge.reason, bench.sent()) == ("failed", "paid_meanwhile", [])
    assert bench.told("payment.failed") == []
    assert bench.differences() == []


def test_a_payment_by_hand_that_disappears_before_it_counts_is_charged_after_all(simple: OnFake) -> None:
    bench = ready(simple)
    bench.pay(bench.renewals()[-1])
    bench.read()
    assert dict(bench.engine.run_charges().left) == {"confirming": 1}
    bench.chain.reorganise(1)
    bench.mine(2)
    bench.read()
    assert bench.renewals()[-1].status == "submitted"
    bench.settle()
    bench.settle()
    assert (bench.renewals()[-1].status, [c.state for c in bench.charges()]) == ("confirmed", ["submitted"])
    assert bench.differences() == []


@pytest.mark.parametrize("arrives", [True, False])
def test_a_timeout_is_unknown_and_never_a_second_charge(simple: OnFake, arrives: bool) -> None:
    bench = ready(simple)
    treasury = bench.balance(bench.merchant.treasury)
    assert bench.engine.run_charges().queued == 1
    transmitter = bench.chain.submit

    def lossy(made):
        if arrives:
            transmitter(made)
        return "no_answer"

    bench.chain.submit = lossy
    bench.engine.relay()
    bench.chain.submit = transmitter
    assert (bench.charges()[-1].state, bench.renewals()[-1].status) == ("unknown", "unknown")
    for _ in range(5):
        bench.engine.run_renewals()
        assert bench.engine.run_charges().looked == 0
    bench.clock.advance(MINUTE)
    bench.engine.relay()
    bench.settle()
    bench.settle()
    assert bench.renewals()[-1].status == "confirmed"
    assert bench.balance(bench.merchant.treasury) - treasury == PRICE
    assert len(bench.charges()) == len(bench.sent()) == 1
    assert len(bench.engine.sending(ADMIN).versions(bench.sent()[0].transmission_id)) == 1


def test_one_that_fails_in_its_block_is_tried_again_once_that_is_irreversible(simple: OnFake) -> None:
    bench = ready(simple)
    assert bench.engine.run_charges().queued == 1
    bench.engine.relay()
    bench.allow(0)  # in the same block, before it
    (sent,) = bench.sent()
    bench.clock.advance(MINUTE)
    bench.engine.relay()
    assert bench.sent()[0].status is TransmissionStatus.REVERTED
    assert (bench.charges()[-1].state, bench.renewals()[-1].status) == ("submitted", "submitted")
    bench.mine(IRREVERSIBLE_DEPTH)
    bench.clock.advance(timedelta(hours=1))
    bench.mine()
    bench.engine.relay()
    charge = bench.charges()[-1]
    assert (charge.state, charge.reason, bench.renewals()[-1].status) == ("failed", "reverted", "failed")
    assert [t["reason"] for t in bench.told("payment.failed")] == ["reverted"]
    bench.allow(PRICE)
    bench.go(1)
    bench.settle()
    assert bench.renewals()[-1].status == "confirmed"
    assert [(c.attempt, c.state) for c in bench.charges()] == [(1, "failed"), (2, "submitted")]
    assert sent.transmission_id != bench.sent()[-1].transmission_id
    assert bench.differences() == []


@pytest.mark.fault("B20")
def test_b20_access_is_not_granted_before_the_charge_counts_and_goes_when_it_disappears(simple: OnFake) -> None:
    bench = ready(simple)
    before = bench.held().paid_until
    bench.engine.run_charges()
    bench.engine.relay()
    assert bench.held().paid_until == before
    bench.mine()
    bench.read()
    assert (bench.renewals()[-1].status, bench.held().paid_until) == ("confirming", before)
    bench.settle()
    granted = bench.held().paid_until
    assert granted is not None
    assert before is not None
    assert granted > before
    assert bench.engine.access(USER, product="life").allowed

    bench.chain.reorganise(5)
    bench.mine(2)
    bench.read()
    assert (bench.renewals()[-1].status, bench.held().paid_until) == ("reversed", before)
    bench.clock.advance(MINUTE)
    bench.engine.relay()
    bench.settle()
    assert (bench.renewals()[-1].status, bench.held().paid_until) == ("confirmed", granted)
    assert len(bench.charges()) == len(bench.sent()) == 1
    assert bench.differences() == []


@pytest.mark.fault("B07")
@pytest.mark.parametrize("who", ["mandate", "subscription"])
def test_b07_what_is_cancelled_before_it_is_signed_is_never_sent(simple: OnFake, who: str) -> None:
    bench = ready(simple)
    assert bench.engine.run_charges().queued == 1
    if who == "mandate":
        cancelled(bench)
    else:
        bench.engine.cancel_subscription(bench.held().subscription_id, when="now")
    bench.engine.relay()
    (sent,) = bench.sent()
    reason = "cancelled" if who == "mandate" else "withdrawn"
    assert (sent.status, sent.failure_reason, sent.nonce) == (TransmissionStatus.FAILED, reason, None)
    assert (bench.charges()[-1].state, bench.charges()[-1].reason) == ("failed", reason)
    assert bench.chain.pending == ()
    bench.settle()
    assert bench.differences() == []


@pytest.mark.fault("B07")
def test_b07_what_is_cancelled_once_it_is_sent_is_paid_or_credit(simple: OnFake) -> None:
    bench = ready(simple)
    bench.engine.run_charges()
    bench.engine.relay()
    cancelled(bench)
    bench.settle()
    assert bench.renewals()[-1].status == "confirmed"
    bench.requested()
    assert bench.engine.run_charges().looked == 0
    assert (bench.renewals()[-1].attempts, bench.renewals()[-1].claim) == (0, "owed")
    assert bench.differences() == []


def test_a_person_takes_a_queued_charge_back(simple: OnFake) -> None:
    bench = ready(simple)
    bench.engine.run_charges()
    bench.engine.sending(ADMIN).withdraw(bench.sent()[0].transmission_id)
    assert (bench.charges()[-1].reason, bench.renewals()[-1].status) == ("withdrawn", "failed")


def test_one_that_cannot_be_paid_for_in_a_day_is_tried_again(simple: OnFake) -> None:
    bench = ready(simple)
    bench.chain.set_coins(OPERATOR.address, 0)
    bench.engine.run_charges()
    bench.engine.relay()
    assert bench.charges()[-1].state == "submitted"
    bench.clock.advance(timedelta(hours=25))
    bench.engine.relay()
    assert (bench.charges()[-1].reason, bench.renewals()[-1].status) == ("relayer_funds", "failed")


def plain(bench: OnFake) -> tuple[str, str]:
    """A customer with a mandate whose plan is paid by plain transfers; returns token and treasury."""
    bench.merchant.engine.admin(ADMIN).create_contract(
        slug="plain", network=bench.merchant.network, address=bench.merchant.token.token, kind="erc20"
    )
    prices = plan_fields(bench.merchant, "plain")["prices"][:1]
    bench.plan("plain", contract_slug="plain", prices=prices)
    bench.confirm_wallet()
    offer = bench.engine.checkout(plan="plain", user_id=USER, wallet=PAYER.address, idempotency_key="first")
    assert offer.order.rail == "erc20"
    token, treasury = bench.merchant.token.token, bench.merchant.treasury
    bench.chain.transfer(token, PAYER.address, treasury, PRICE)
    bench.settle()
    bench.give()
    return token, treasury


def test_an_order_that_was_paid_in_part_is_charged_for_the_rest(simple: OnFake) -> None:
    bench = simple
    token, treasury = plain(bench)
    at = bench.held().next_charge_at
    assert at is not None
    bench.until(at - DAY)
    bench.chain.transfer(token, PAYER.address, treasury, PRICE // 4)
    bench.settle()
    assert bench.renewals()[-1].status is OrderStatus.PARTIALLY_PAID
    before = bench.balance(treasury)
    bench.due()
    bench.settle()
    assert bench.renewals()[-1].status == "confirmed"
    assert bench.balance(treasury) - before == PRICE - PRICE // 4
    assert bench.differences() == []


@pytest.mark.parametrize("amount", [PRICE, PRICE // 4])
def test_money_that_is_given_back_is_not_taken_for_a_part_of_the_order_that_it_names(
    simple: OnFake, amount: int
) -> None:
    """It was held, and a person gives it back: the order is charged for all that it asks for."""
    bench = simple
    token, treasury = plain(bench)
    bench.engine._ports = attrs.evolve(bench.engine._ports, screen=lambda payer, tx: "hold")
    at = bench.held().next_charge_at
    assert at is not None
    bench.until(at - DAY)
    bench.chain.transfer(token, PAYER.address, treasury, amount)
    bench.settle()
    bench.engine._ports = attrs.evolve(bench.engine._ports, screen=None)
    (receipt,) = bench.engine.receipts(bench.renewals()[-1].ledger_id)
    bench.engine.refunds(ADMIN).request(receipt_id=receipt.receipt_id, reason="not from them")
    (receipt,) = bench.engine.receipts(bench.renewals()[-1].ledger_id)
    assert receipt.allocation == "refunded"
    before = bench.balance(treasury)
    bench.due()
    bench.settle()
    assert [(c.state, c.reason) for c in bench.charges()] == [("submitted", None)]
    assert (bench.renewals()[-1].status, bench.balance(treasury) - before) == ("confirmed", PRICE)
    assert bench.differences() == []


RULINGS: dict[str, Callable[[OnFake, Any], Any]] = {
    "released": lambda b, item: b.engine.finance(ADMIN).release(item.item_id, note="theirs"),
    "given back": lambda b, item: b.engine.refunds(ADMIN).request(receipt_id=item.receipt_id, reason="not from them"),
}


def held_before_it_is_due(bench: OnFake) -> tuple[Any, str]:
    """The whole price of the next period comes and is held, and its charge is decided: the case, and the treasury."""
    token, treasury = plain(bench)
    at = bench.held().next_charge_at
    assert at is not None
    bench.until(at - DAY)
    bench.engine._ports = attrs.evolve(bench.engine._ports, screen=lambda payer, tx: "hold")
    bench.chain.transfer(token, PAYER.address, treasury, PRICE)
    bench.settle()
    bench.engine._ports = attrs.evolve(bench.engine._ports, screen=None)
    bench.due()
    (item,) = bench.engine.finance(ADMIN).queue()
    return item, treasury


@pytest.mark.parametrize("ruling", RULINGS)
def test_a_charge_waits_while_a_person_decides_about_the_whole_price(simple: OnFake, ruling: str) -> None:
    bench = simple
    item, treasury = held_before_it_is_due(bench)
    before = bench.balance(treasury)
    for _ in range(3):
        bench.go(1 / 2)
        report = bench.engine.run_charges()
        assert (dict(report.left), report.changed) == ({"money_held": 1}, 0)
    assert [(c.state, c.reason) for c in bench.charges()] == [("requested", None)]
    RULINGS[ruling](bench, item)
    bench.go(1 / 24)
    bench.settle()
    assert bench.renewals()[0].status == "confirmed"
    paid = ("failed", "paid_meanwhile") if ruling == "released" else ("submitted", None)
    assert [(c.state, c.reason) for c in bench.charges()] == [paid]
    assert bench.balance(treasury) - before == (0 if ruling == "released" else PRICE)
    assert bench.told("payment.failed") == []
    assert bench.differences() == []


def test_a_charge_waits_for_no_person_who_never_decides(simple: OnFake) -> None:
    bench = simple
    item, _ = held_before_it_is_due(bench)
    bench.go(3)
    assert (bench.charges()[0].state, bench.charges()[0].reason) == ("failed", "money_held")
    assert (bench.told("payment.failed")[0]["reason"], bench.held().status) == ("money_held", "past_due")
    RULINGS["released"](bench, item)
    bench.go(1 / 24)
    assert (bench.renewals()[0].status, bench.held().status) == ("confirmed", "active")
    assert bench.differences() == []


def test_a_part_that_is_paid_while_the_charge_waits_for_the_relayer_is_not_charged_again(simple: OnFake) -> None:
    bench = simple
    token, treasury = plain(bench)
    bench.requested()
    assert bench.engine.run_charges().queued == 1
    before = bench.balance(treasury)
    bench.clock.advance(MINUTE)
    bench.chain.transfer(token, PAYER.address, treasury, PRICE // 4)
    bench.mine(3)
    bench.read()
    bench.settle()
    assert (bench.charges()[-1].state, bench.charges()[-1].reason) == ("failed", "paid_in_part")
    bench.go(1)
    bench.settle()
    assert bench.renewals()[-1].status == "confirmed"
    assert (bench.balance(treasury) - before, bench.differences()) == (PRICE, [])


def test_a_gateway_without_a_relayer_asks(simple: OnFake) -> None:
    bench = simple
    bench.subscribe()
    bench.give()
    bench.engine.admin(ADMIN).update_gateway("main", version=2, relayer=None)
    assert bench.held().next_charge_at is not None
    bench.due()
    assert (bench.renewals()[-1].attempts, bench.renewals()[-1].claim) == (0, "owed")


def test_a_relayer_that_goes_away_fails_what_was_requested(simple: OnFake) -> None:
    bench = ready(simple)
    bench.engine.admin(ADMIN).update_gateway("main", version=2, relayer=None)
    assert dict(bench.engine.run_charges().failed) == {"no_relayer": 1}


def test_more_than_one_call_takes_and_what_is_left_stands_in_nobodys_way(simple: OnFake) -> None:
    bench = simple
    users = [f"user-{n}" for n in range(5)]
    for user in users:
        bench.subscribe(user=user)
        bench.give(user=user)
    bench.allow(100 * PRICE)
    bench.requested(users[-1])
    for user in users:
        assert bench.charges(user)[-1].state == "requested"
    bench.pay(bench.renewals(users[0])[-1])
    first = bench.engine.run_charges(limit=2)
    assert (first.queued, dict(first.left)) == (2, {"reference_used": 1})
    assert bench.engine.run_charges(limit=10).queued == 2
    assert bench.engine.run_charges().queued == 0


@pytest.mark.parametrize("reason", ["revoked", "cancelled"])
def test_what_is_owed_is_charged_under_the_next_mandate(simple: OnFake, reason: str) -> None:
    bench = ready(simple)
    STANDS_IN_THE_WAY[reason](bench)
    bench.engine.run_charges()
    bench.go(1)
    assert (bench.renewals()[-1].status, bench.renewals()[-1].claim) == ("pending", "owed")
    bench.give()
    bench.mine()
    bench.read()
    bench.settle()
    bench.settle()
    assert (bench.renewals()[-1].status, bench.held().status) == ("confirmed", "active")
    assert [(c.state, c.reason) for c in bench.charges()] == [("failed", reason), ("submitted", None)]
    assert bench.differences() == []


@pytest.mark.fault("Z01")
@pytest.mark.parametrize("back", [timedelta(seconds=1), timedelta(hours=1), DAY])
def test_z01_a_clock_that_goes_back_charges_nothing_twice(simple: OnFake, back: timedelta) -> None:
    bench = ready(simple)
    now = bench.clock.now()
    for step in (bench.engine.run_charges, bench.engine.relay, bench.engine.run_renewals):
        bench.clock.set(now - back)
        step()
        bench.clock.set(now)
        step()
    bench.settle()
    assert [(c.attempt, c.state) for c in bench.charges()] == [(1, "submitted")]
    assert (len(bench.sent()), bench.renewals()[-1].status) == (1, "confirmed")


@pytest.mark.fault("Z08")
@pytest.mark.parametrize(("arrears", "pulled"), [("forgive", [3]), ("accumulate", [1, 2, 3])])
def test_z08_after_months_of_silence_what_is_owed_is_pulled(simple: OnFake, arrears: str, pulled: list[int]) -> None:
    bench = simple
    bench.plan("silent", dunning={"arrears": arrears})
    bench.subscribe("silent")
    bench.give()
    bench.until(bench.held().table.start(3))
    for _ in range(4):
        bench.settle()
        bench.go(1)
    paid = [o for o in bench.renewals() if o.status in PAID_ORDERS]
    assert [o.period for o in paid] == pulled
    assert {(o.claim, o.attempts) for o in bench.renewals() if o not in paid} <= {("forgiven", 0)}
    assert {s.failure_reason for s in bench.sent()} == {None}
    assert bench.differences() == []


@pytest.mark.fault("B07")
@pytest.mark.parametrize("queued", [False, True])
def test_b07_who_leaves_before_the_charge_is_signed_is_not_charged(simple: OnFake, queued: bool) -> None:
    bench = ready(simple)
    before = bench.balance(PAYER.address)
    if queued:
        bench.engine.run_charges()
    bench.engine.cancel_subscription(bench.held().subscription_id)
    bench.settle()
    assert (bench.charges()[-1].state, bench.charges()[-1].reason) == ("failed", "withdrawn")
    assert (bench.held().status, bench.balance(PAYER.address), bench.differences()) == ("ended", before, [])


def test_who_leaves_and_stays_after_all_is_charged_the_next_day(simple: OnFake) -> None:
    bench = ready(simple)
    name = bench.held().subscription_id
    bench.engine.cancel_subscription(name)
    assert bench.engine.run_charges().failed == {"withdrawn": 1}
    bench.engine.undo_cancel(name)
    bench.go(1)
    bench.settle()
    assert [(c.attempt, c.state) for c in bench.charges()] == [(1, "failed"), (2, "submitted")]
    assert (bench.renewals()[-1].status, bench.held().status) == ("confirmed", "active")
    assert (bench.held().paid_periods, bench.differences()) == (2, [])


def test_who_leaves_after_the_charge_was_sent_has_the_period_that_it_paid(simple: OnFake) -> None:
    bench = ready(simple)
    bench.engine.run_charges()
    bench.engine.relay()
    bench.engine.cancel_subscription(bench.held().subscription_id)
    bench.settle()
    held = bench.held()
    assert (held.paid_periods, held.status, held.cancel_at_period_end) == (2, "active", True)
    bench.until(held.paid_until)
    assert (bench.held().status, bench.differences()) == ("ended", [])
