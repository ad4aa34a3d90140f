"""Checkout beside what a user already holds: next periods, other plans, withdrawn offers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from engine_shop import PRICE, START

from evmbilling.errors import ChangeNeeded, IdempotencyConflict, InputError, NotFound

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""


def test_the_same_plan_pays_the_next_period(shop):
    shop.pay(shop.checkout())
    anchor = shop.subscription().anchor
    following = shop.checkout("k2")
    assert (following.order.period, following.amount) == (1, PRICE)
    shop.pay(following)
    after = shop.subscription()
    assert (after.paid_periods, after.anchor) == (2, anchor)
    assert after.paid_until == datetime(2026, 3, 31, 12, 0, 12, tzinfo=UTC)
    assert shop.plan_changes() == [(None, "pro", "payment")]


@pytest.mark.parametrize("over", [{"plan": "team"}, {"quantity": 2}], ids=str)
def test_another_plan_or_quantity_needs_a_change(memory_shop, over):
    memory_shop.pay(memory_shop.checkout())
    before = memory_shop.dump()
    with pytest.raises(ChangeNeeded) as caught:
        memory_shop.checkout("k2", **over)
    assert caught.value.details["subscription_id"] == memory_shop.subscription().subscription_id
    assert memory_shop.dump() == before


def test_an_unpaid_subscription_gives_way_to_another_plan(shop):
    old = shop.checkout()
    new = shop.checkout("k2", plan="team")
    assert [s.status for s in shop.engine.subscriptions("u1")] == ["incomplete_expired", "incomplete"]
    assert (shop.status(old), shop.status(new)) == ("superseded", "pending")
    shop.pay(old)
    assert shop.placed(old) == [("credit", "subscription_ended", "credited")]
    assert (shop.status(old), shop.allowed()) == ("superseded", False)
    shop.pay(new)
    assert shop.engine.access("u1").plan_slug == "team"


def test_a_deferred_start_that_is_not_paid_gives_way_too(memory_shop):
    memory_shop.checkout(start_at=START + timedelta(days=5))
    memory_shop.pay(memory_shop.checkout("k2", plan="team"))
    assert memory_shop.engine.access("u1").plan_slug == "team"


@pytest.mark.parametrize("start_at", [None, START + timedelta(days=5)], ids=["now", "deferred"])
def test_a_requote_begins_in_the_zone_and_at_the_start_of_what_gave_way(memory_shop, start_at):
    memory_shop.checkout("k0", plan="team", zone="Europe/Berlin")
    old = memory_shop.checkout(zone="Asia/Tokyo", start_at=start_at)
    memory_shop.checkout("k2", plan="team")
    anew = memory_shop.engine.requote(old.ledger_id)
    held = memory_shop.engine.subscriptions("u1")[-1]
    assert (held.zone, held.start_at, held.plan_slug) == ("Asia/Tokyo", start_at, "pro")
    assert memory_shop.engine.requote(old.ledger_id).ledger_id == anew.ledger_id


def test_a_requote_after_a_new_version_begins_in_the_old_zone(memory_shop):
    memory_shop.checkout("k0", plan="team", zone="Europe/Berlin")
    old = memory_shop.checkout("k1", zone="Asia/Tokyo")
    memory_shop.admin.revise_plan("pro", version=1, name="Pro 2")
    memory_shop.engine.requote(old.ledger_id)
    held = memory_shop.engine.subscriptions("u1")[-1]
    assert (held.zone, held.plan_version) == ("Asia/Tokyo", 2)


def test_a_requote_of_a_deferred_start_pays_what_began_otherwise_since(memory_shop):
    old = memory_shop.checkout(start_at=START + timedelta(days=5))
    memory_shop.checkout("k2", plan="team")
    memory_shop.checkout("k3")
    live = memory_shop.subscription().subscription_id
    assert memory_shop.engine.requote(old.ledger_id).order.subscription_id == live


def test_a_deferred_start_that_is_paid_does_not_give_way(memory_shop):
    memory_shop.pay(memory_shop.checkout(start_at=START + timedelta(days=5)))
    with pytest.raises(ChangeNeeded):
        memory_shop.checkout("k2", plan="team")


def test_a_trial_does_not_give_way(memory_shop):
    memory_shop.admin.revise_plan("team", version=1, product="lab")
    memory_shop.checkout(plan="trial")
    with pytest.raises(ChangeNeeded):
        memory_shop.checkout("k2", plan="team", product="lab")


def test_a_payment_that_is_being_confirmed_holds_the_plan(memory_shop):
    first = memory_shop.checkout()
    memory_shop.pay(first, depth=1)
    with pytest.raises(ChangeNeeded):
        memory_shop.checkout("k2", plan="team")
    assert memory_shop.checkout("k3").ledger_id == first.ledger_id


@pytest.mark.fault("B10")
def test_b10_a_second_checkout_supersedes_the_first_which_stays_watched(shop):
    first, second = shop.checkout("a"), shop.checkout("b")
    assert second.order.supersedes == first.ledger_id
    assert (shop.status(first), shop.status(second)) == ("superseded", "pending")
    shop.pay(first)
    assert (shop.status(first), shop.status(second)) == ("confirmed", "cancelled")
    assert shop.allowed()
    shop.pay(second)
    assert shop.placed(second) == [("credit", "period_paid", "credited")]
    assert shop.subscription().paid_periods == 1


@pytest.mark.fault("B10")
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_b10_two_tabs_that_pay_in_one_block_pay_one_period(shop, order):
    tabs = [shop.checkout("a"), shop.checkout("b")]
    for i in order:
        shop.chain.pay(tabs[i].order)
    shop.mine(3)
    paid, other = tabs[order[0]], tabs[order[1]]
    assert shop.placed(paid) == [("order", None, "credited")]
    assert shop.placed(other) == [("credit", "period_paid", "credited")]
    assert shop.subscription().paid_periods == 1
    shop.chain.reorganise(3, keep=[shop.receipts(other)[0].identity.tx_hash])
    shop.chain.mine(3)
    shop.catch_up()
    shop.settle()
    assert shop.placed(paid) == [("order", None, "reversed")]
    assert shop.placed(other) == [("order", None, "credited")]
    assert shop.allowed()


def test_part_payments_of_a_period_that_another_order_paid_are_credit(memory_shop):
    part, whole = memory_shop.checkout("a"), None
    memory_shop.chain.pay(part.order, amount=5)
    memory_shop.mine(3)
    assert memory_shop.status(part) == "partially_paid"
    assert memory_shop.checkout("b").ledger_id == part.ledger_id  # money in part is not doubled
    memory_shop.clock.set(part.deadline + timedelta(seconds=1))
    whole = memory_shop.checkout("c")
    memory_shop.pay(whole)
    assert memory_shop.placed(part) == [("credit", "period_paid", "credited")]
    assert (memory_shop.status(whole), memory_shop.subscription().paid_periods) == ("confirmed", 1)


class TestRequote:
    @pytest.mark.parametrize("plan", ["pro", "once"])
    def test_it_withdraws_the_offer_and_makes_it_again(self, memory_shop, plan):
        old = memory_shop.checkout(plan=plan, quantity=2)
        memory_shop.clock.advance(seconds=600)
        new = memory_shop.engine.requote(old.ledger_id, user_id="u1")
        assert new.ledger_id != old.ledger_id
        assert (new.amount, new.order.supersedes, new.order.product) == (old.amount, old.ledger_id, old.order.product)
        assert new.deadline == old.deadline + timedelta(seconds=600)
        assert (memory_shop.status(old), memory_shop.status(new)) == ("superseded", "pending")

    @pytest.mark.parametrize("plan", ["pro", "once"])
    def test_once_per_order_without_a_key(self, memory_shop, plan):
        old = memory_shop.checkout(plan=plan)
        new = memory_shop.engine.requote(old.ledger_id)
        again = memory_shop.engine.requote(old.ledger_id)
        assert (again.ledger_id, again.payload, again.replayed) == (new.ledger_id, new.payload, True)
        assert memory_shop.types().count("order.superseded") == 1

    @pytest.mark.parametrize("plan", ["pro", "once"])
    def test_late_money_for_the_old_offer_is_found(self, memory_shop, plan):
        old = memory_shop.checkout(plan=plan)
        memory_shop.engine.requote(old.ledger_id)
        memory_shop.pay(old)
        assert (memory_shop.status(old), memory_shop.allowed()) == ("confirmed", True)

    @pytest.mark.parametrize(("depth", "status"), [(1, "confirming"), (3, "confirmed"), (20, "final")])
    def test_an_order_with_money_answers_as_it_is(self, memory_shop, depth, status):
        order = memory_shop.checkout()
        memory_shop.pay(order, depth=depth)
        before = memory_shop.dump()
        answer = memory_shop.engine.requote(order.ledger_id)
        assert (answer.ledger_id, answer.status, answer.payload) == (order.ledger_id, status, None)
        assert memory_shop.dump() == before

    def test_an_expired_offer_is_made_again(self, memory_shop):
        old = memory_shop.checkout()
        memory_shop.mine(2, seconds=1801)
        assert memory_shop.status(old) == "expired"
        new = memory_shop.engine.requote(old.ledger_id)
        assert (new.next, new.order.subscription_id) == ("pay", old.order.subscription_id)
        memory_shop.pay(new)
        assert memory_shop.allowed()

    def test_a_key_belongs_to_the_order_it_was_used_for(self, memory_shop):
        old = memory_shop.checkout()
        new = memory_shop.engine.requote(old.ledger_id, idempotency_key="r1")
        assert memory_shop.engine.requote(old.ledger_id, idempotency_key="r1").ledger_id == new.ledger_id
        with pytest.raises(IdempotencyConflict):
            memory_shop.engine.requote(new.ledger_id, idempotency_key="r1")
        assert memory_shop.checkout("r1").ledger_id not in {old.ledger_id, new.ledger_id}

    @pytest.mark.parametrize("user_id", ["u2", "", "nobody"])
    def test_another_users_order_is_absent(self, memory_shop, user_id):
        order = memory_shop.checkout()
        before = memory_shop.dump()
        with pytest.raises(NotFound) as caught:
            memory_shop.engine.requote(order.ledger_id, user_id=user_id)
        assert caught.value.field == "ledger_id"
        assert memory_shop.dump() == before

    @pytest.mark.parametrize("ledger_id", ["", "nope", "019c13ec-9e00-7e1b-b06c-144a025b413f", "' or 1=1 --"])
    def test_an_unknown_order_is_absent(self, memory_shop, ledger_id):
        for call in (memory_shop.engine.requote, memory_shop.engine.order, memory_shop.engine.pay_instructions):
            with pytest.raises(NotFound) as caught:
                call(ledger_id)
            assert caught.value.field == "ledger_id"

    @pytest.mark.parametrize("key", ["", "x" * 256, "a b", 5])
    def test_an_odd_key_is_refused(self, memory_shop, key):
        order = memory_shop.checkout()
        with pytest.raises(InputError) as caught:
            memory_shop.engine.requote(order.ledger_id, idempotency_key=key)
        assert caught.value.field == "idempotency_key"

    def test_a_plan_that_is_no_longer_sold_is_refused(self, memory_shop):
        order = memory_shop.checkout(plan="once")
        memory_shop.admin.archive_plan("once")
        with pytest.raises(InputError) as caught:
            memory_shop.engine.requote(order.ledger_id)
        assert (caught.value.code, memory_shop.status(order)) == ("archived_plan", "pending")


@pytest.mark.parametrize("amount", [None, 5])
def test_money_that_comes_back_after_the_plan_was_given_up_is_credit(memory_shop, amount):
    old = memory_shop.checkout()
    paid = memory_shop.pay(old, depth=1, **({"amount": amount} if amount else {}))
    memory_shop.reorganise(1)
    memory_shop.checkout("k2", plan="team")
    memory_shop.chain.resend(paid)
    memory_shop.mine(3)
    assert memory_shop.placed(old) == [("credit", "subscription_ended", "credited")]
    assert (memory_shop.status(old), memory_shop.allowed()) == ("superseded", False)
