"""Changes of plan, quantity, token and network: what is asked, from when they hold, and what takes them back."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from life_bench import ADMIN, DAY, LADDER, START, Life

from evmbilling.domain.decisions import StoreSubscription
from evmbilling.domain.selling.orders import OrderLine
from evmbilling.errors import (
    ArchivedPlan,
    ChangeNeeded,
    Conflict,
    IllegalTransition,
    InputError,
    UnknownAsset,
    UnknownPlan,
)
from evmbilling.testing.merchant import wallet_of

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

SMALL, LARGE = 10_000_000, 30_000_000


def price(life, amount, native="0.01"):
    fields = {"network": life.shop.network, "chain_id": life.chain.chain_id}
    token = life.shop.token
    return [
        fields | {"token": token.token, "decimals": 6, "symbol": token.symbol, "amount": amount},
        fields | {"token": life.shop.native.token, "decimals": 18, "symbol": "ETH", "display": native},
    ]


def plans(life, **fields):
    """Two plans of one product: small for 10, large for 30."""
    for slug, amount, calls in (("small", SMALL, 100), ("large", LARGE, 1000)):
        life.plan(slug, product="desk", prices=price(life, amount), limits={"calls": calls}, **fields)


def begin(life, plan="small", **fields):
    plans(life, **fields)
    return life.start(plan=plan).subscription_id


def change(life, **how):
    return life.engine.change_subscription(life.held().subscription_id, **how)


def terms(life):
    held = life.held()
    return held.plan_slug, held.plan_version, held.quantity


def half(life):
    """Go to the middle of the running period, to the second."""
    held = life.held()
    middle = held.anchor + (held.paid_until - held.anchor) / 2
    life.until(middle)
    return held


class TestNow:
    def test_the_difference_is_asked_for_and_it_holds_when_that_is_paid(self, life):
        name = begin(life)
        held = half(life)
        seen = life.engine.preview_change(name, timing="now", plan="large")
        assert (seen.pay_now, seen.unused, seen.kept) == (10_000_000, 5_000_000, 0)
        assert (seen.next_charge_at, seen.next_amount) == (held.paid_until, LARGE)
        assert [(line.kind, line.amount) for line in seen.lines] == [("plan", 15_000_000), ("credit", -5_000_000)]
        made = change(life, timing="now", plan="large")
        assert made.preview == seen
        assert (made.order.amount, made.order.next, made.order.order.origin) == (10_000_000, "pay", "change")
        assert made.subscription.waiting.ledger_id == made.order.ledger_id
        assert terms(life) == ("small", 1, 1)
        assert life.engine.access("u1").limits == (("calls", 100),)
        life.pay(made.order.order)
        assert terms(life) == ("large", 1, 1)
        assert life.engine.access("u1").limits == (("calls", 1000),)
        after = life.held()
        assert (after.paid_until, after.anchor, after.paid_periods) == (held.paid_until, held.anchor, 1)
        assert life.engine.subscription(name).waiting is None
        assert life.told("plan.changed")[-1] | {"effective_at": 0} == {
            "user_id": "u1",
            "subscription_id": name,
            "product": "desk",
            "old_plan": "small",
            "new_plan": "large",
            "limits": {"calls": 1000},
            "effective_at": 0,
            "cause": "payment",
        }
        life.until(held.paid_until - DAY)
        (asked,) = life.renewals()
        assert (asked.amount, asked.plan_slug) == (LARGE, "large")
        life.pay(asked)
        life.go(40, release=True)
        assert life.differences() == []

    def test_what_costs_nothing_holds_at_once_and_nothing_goes_back(self, life):
        begin(life, "large")
        half(life)
        made = change(life, timing="now", plan="small")
        assert (made.order, made.preview.pay_now, made.preview.kept) == (None, 0, 10_000_000)
        assert terms(life) == ("small", 1, 1)
        assert life.engine.access("u1").limits == (("calls", 100),)
        back = change(life, timing="now", plan="large")
        assert (back.order, back.preview.pay_now) == (None, 0)
        assert terms(life) == ("large", 1, 1)
        life.go(30, release=True)
        assert life.differences() == []

    def test_down_and_up_again_costs_nothing_at_any_second(self, memory_life):
        """What was paid twice is rounded down twice: what that loses is not asked for again."""
        life = memory_life
        begin(life)
        life.go(5)
        life.pay(change(life, timing="now", plan="large").order.order)
        for _ in range(6):
            life.clock.set(life.clock.now() + timedelta(seconds=17))
            assert change(life, timing="now", plan="small").order is None
            back = change(life, timing="now", plan="large")
            assert (back.order, back.preview.pay_now) == (None, 0)
            assert terms(life) == ("large", 1, 1)

    def test_quantity_and_version_move_by_the_same_rule(self, memory_life):
        life = memory_life
        begin(life)
        half(life)
        more = change(life, timing="now", quantity=3)
        assert more.order.amount == 10_000_000
        life.pay(more.order.order)
        assert terms(life) == ("small", 1, 3)
        assert life.engine.access("u1").limits == (("calls", 300),)
        assert life.told("plan.changed")[-1]["limits"] == {"calls": 300}
        life.engine.admin(ADMIN).revise_plan("small", version=1, prices=price(life, 2 * SMALL))
        life.until(life.held().paid_until - DAY)
        assert life.renewals()[-1].amount == 3 * SMALL
        life.pay(life.renewals()[-1])
        life.go(2)
        assert terms(life) == ("small", 1, 3)
        moved = change(life, timing="now", plan="small")
        life.pay(moved.order.order)
        assert terms(life) == ("small", 2, 3)

    def test_a_reorganisation_takes_it_back_and_brings_it_again(self, life):
        begin(life)
        half(life)
        made = change(life, timing="now", plan="large")
        paid = life.chain.pay(made.order.order)
        life.shop.settle()
        assert terms(life) == ("large", 1, 1)
        life.chain.reorganise(4)
        life.shop.settle(1)
        assert terms(life) == ("small", 1, 1)
        assert life.engine.access("u1").limits == (("calls", 100),)
        assert life.told("plan.changed")[-1]["cause"] == "reversal"
        life.chain.resend(paid)
        life.shop.settle()
        assert terms(life) == ("large", 1, 1)
        assert life.engine.access("u1").limits == (("calls", 1000),)
        life.go(40, release=True)
        assert life.differences() == []

    def test_an_order_that_is_not_paid_drops_it(self, life):
        name = begin(life)
        half(life)
        made = change(life, timing="now", plan="large")
        life.go(0.1)
        assert life.engine.order(made.order.ledger_id).status == "expired"
        assert life.engine.subscription(name).waiting is None
        assert terms(life) == ("small", 1, 1)
        life.pay(made.order.order)
        assert terms(life) == ("small", 1, 1)
        assert [r.allocation for r in life.engine.receipts(made.order.ledger_id)] == ["credit"]
        assert life.differences() == []

    def test_the_same_again_is_the_same_and_another_takes_its_place(self, memory_life):
        life = memory_life
        begin(life)
        half(life)
        first = change(life, timing="now", plan="large")
        again = change(life, timing="now", plan="large")
        assert again.order.ledger_id == first.order.ledger_id
        assert again.order.payload == first.order.payload
        other = change(life, timing="now", quantity=2)
        assert life.engine.order(first.order.ledger_id).status == "superseded"
        life.pay(other.order.order)
        assert terms(life) == ("small", 1, 2)
        life.pay(first.order.order)
        assert terms(life) == ("small", 1, 2)
        assert [r.reason for r in life.engine.receipts(first.order.ledger_id)] == ["change_replaced"]
        assert life.differences() == []

    def test_whoever_pays_what_was_withdrawn_gets_what_it_offered(self, memory_life):
        life = memory_life
        name = begin(life)
        half(life)
        made = change(life, timing="now", plan="large")
        life.engine.withdraw_change(name, user_id="u1")
        assert life.engine.order(made.order.ledger_id).status == "superseded"
        assert life.engine.subscription(name).waiting is None
        life.pay(made.order.order)
        assert terms(life) == ("large", 1, 1)

    def test_a_renewal_that_is_asked_for_is_asked_for_anew(self, life):
        begin(life)
        due = life.held().next_charge_at
        life.until(due - 2 * DAY)
        (asked,) = life.renewals()
        made = change(life, timing="now", plan="large")
        life.pay(made.order.order)
        assert life.engine.order(asked.ledger_id).status == "superseded"
        anew = [o for o in life.engine.orders("u1") if o.origin == "change" and o.period == 1]
        assert [(o.amount, o.status, o.due_at) for o in anew] == [(LARGE, "pending", due)]
        life.pay(anew[0])
        assert (life.held().paid_periods, terms(life)) == (2, ("large", 1, 1))
        life.go(40, release=True)
        assert life.differences() == []

    def test_the_difference_to_a_difference_holds_only_on_top_of_it(self, memory_life):
        life = memory_life
        begin(life)
        half(life)
        life.pay(change(life, timing="now", plan="large").order.order)
        second = change(life, timing="now", quantity=2)
        assert second.preview.unused == pytest.approx(15_000_000, abs=100_000)
        life.pay(second.order.order)
        assert terms(life) == ("large", 1, 2)
        life.go(40, release=True)
        assert life.differences() == []


def test_whoever_pays_the_small_offer_that_was_replaced_has_that_period_small(memory_life):
    """And the next one that nobody has paid is asked for on the terms that were chosen."""
    life = memory_life
    begin(life)
    due = life.held().next_charge_at
    life.until(due - timedelta(minutes=10))
    (asked,) = life.renewals()
    life.pay(change(life, timing="now", plan="large").order.order)
    life.pay(asked)
    assert terms(life) == ("large", 1, 1)
    life.until(due + DAY)
    assert (life.held().paid_periods, terms(life)) == (2, ("small", 1, 1))
    assert life.engine.access("u1").limits == (("calls", 100),)
    life.until(life.held().paid_until - DAY)
    (anew,) = [o for o in life.engine.orders("u1") if o.period == 2 and o.status == "pending"]
    assert (anew.plan_slug, anew.amount) == ("large", LARGE)
    life.pay(anew)
    life.go(3)
    assert terms(life) == ("large", 1, 1)
    life.go(40, release=True)
    assert life.differences() == []


def test_what_was_refunded_does_not_count_against_the_new_terms(memory_life):
    life = memory_life
    name = begin(life)
    half(life)
    before = life.engine.preview_change(name, timing="now", plan="large")
    paid = life.engine.orders("u1")[0].ledger_id
    life.engine.refunds(ADMIN).request(ledger_id=paid, amount=4_000_000, reason="outage", via="transfer")
    after = life.engine.preview_change(name, timing="now", plan="large")
    assert (before.unused, after.unused) == (5_000_000, 1_000_000)
    assert after.pay_now == 14_000_000


def test_nobody_makes_up_their_mind_too_often_a_day(memory_life):
    life = memory_life
    begin(life)
    half(life)
    for number in range(31):
        change(life, timing="now", quantity=number + 2)
    with pytest.raises(Conflict) as caught:
        change(life, timing="now", quantity=100)
    assert caught.value.details["reason"] == "too_many_today"
    assert len([o for o in life.engine.orders("u1") if o.status == "pending"]) == 1
    life.go(1)
    change(life, timing="now", quantity=100)


def test_tax_is_a_line_of_its_own_on_both_sides(memory_life):
    life = memory_life
    life.engine._ports = attrs.evolve(
        life.engine._ports,
        extra_lines=lambda _plan, _user, _quantity, lines: [
            OrderLine(kind="tax", text="VAT", amount=sum(line.amount for line in lines) // 5)
        ],
    )
    begin(life)
    half(life)
    made = change(life, timing="now", plan="large")
    assert [(line.kind, line.amount) for line in made.order.lines] == [
        ("plan", 15_000_000),
        ("tax", 3_000_000),
        ("credit", -5_000_000),
        ("tax", -1_000_000),
    ]
    life.pay(made.order.order)
    assert terms(life) == ("large", 1, 1)
    life.go(40, release=True)
    assert life.differences() == []


def test_a_person_marks_a_change_as_paid(memory_life):
    life = memory_life
    begin(life)
    half(life)
    made = change(life, timing="now", plan="large")
    life.engine.finance(ADMIN).mark_paid(made.order.ledger_id, reason="by bank")
    assert terms(life) == ("large", 1, 1)
    assert life.engine.access("u1").limits == (("calls", 1000),)
    life.go(40, release=True)
    assert life.differences() == []


def test_a_link_to_a_renewal_that_was_replaced_leads_to_the_new_one(memory_life):
    life = memory_life
    begin(life)
    life.until(life.held().next_charge_at - 2 * DAY)
    link = life.engine.issue_pay_link(life.renewals()[0].ledger_id)
    change(life, plan="large")
    life.shop.drain()
    assert life.engine.pay_link(link.token).amount == LARGE


def test_terms_that_nobody_decided_are_found(memory_life):
    life = memory_life
    name = begin(life)
    held = life.held()
    other = attrs.evolve(held, plan_slug="large", version=held.version + 1)
    with life.engine._ports.storage.unit() as unit:
        unit.apply([StoreSubscription(other)])
    found = {(subject, reason) for code, subject, reason in life.differences() if code.endswith("differs")}
    assert (f"subscription:{name}", "terms") in found


@pytest.mark.fault("B20")
def test_b20_nothing_is_given_before_money_counts(life):
    plans(life)
    offer = life.checkout(plan="small")
    life.chain.pay(offer.order)
    life.shop.settle(1)
    assert (life.engine.order(offer.ledger_id).status, life.engine.access("u1").allowed) == ("confirming", False)
    life.shop.settle(2)
    assert life.engine.access("u1").allowed
    half(life)
    made = change(life, timing="now", plan="large")
    life.chain.pay(made.order.order)
    life.shop.settle(1)
    assert (life.engine.order(made.order.ledger_id).status, terms(life)) == ("confirming", ("small", 1, 1))
    assert life.engine.access("u1").limits == (("calls", 100),)
    life.chain.reorganise(1)
    life.shop.settle(3)
    assert (terms(life), life.engine.order(made.order.ledger_id).status) == (("small", 1, 1), "pending")


class TestNextPeriod:
    def test_it_is_asked_for_on_the_new_terms_and_they_hold_from_its_beginning(self, life):
        name = begin(life)
        due = life.held().next_charge_at
        seen = life.engine.preview_change(name, plan="large", quantity=2)
        assert (seen.pay_now, seen.starts_at, seen.next_amount) == (0, due, 2 * LARGE)
        made = change(life, plan="large", quantity=2)
        assert (made.order, made.subscription.waiting.period) == (None, 1)
        life.until(due - DAY)
        (asked,) = life.renewals()
        assert (asked.amount, asked.plan_slug, asked.quantity) == (2 * LARGE, "large", 2)
        life.pay(asked)
        assert terms(life) == ("small", 1, 1)
        life.until(due)
        assert terms(life) == ("large", 1, 2)
        assert life.engine.access("u1").limits == (("calls", 2000),)
        assert life.told("plan.changed")[-1]["cause"] == "change"
        life.until(life.held().paid_until - DAY)
        assert life.renewals()[-1].amount == 2 * LARGE
        life.go(40, release=True)
        assert life.differences() == []

    def test_an_order_that_is_open_is_replaced_and_paid_all_the_same_keeps_its_terms_once(self, life):
        begin(life)
        due = life.held().next_charge_at
        life.until(due - 2 * DAY)
        (old,) = life.renewals()
        change(life, plan="large")
        life.shop.drain()
        assert life.engine.order(old.ledger_id).status == "superseded"
        life.pay(old)
        assert (life.held().paid_periods, life.engine.subscription(old.subscription_id).waiting.period) == (2, 2)
        life.until(due + DAY)
        assert terms(life) == ("small", 1, 1)
        life.until(life.held().paid_until - DAY)
        asked = max(life.engine.orders("u1"), key=lambda o: o.ledger_id)
        assert (asked.period, asked.amount) == (2, LARGE)
        assert life.differences() == []

    def test_it_is_not_applied_before_it_is_paid(self, memory_life):
        life = memory_life
        name = begin(life, dunning={"steps": LADDER, "grace_days": 3})
        due = life.held().next_charge_at
        change(life, plan="large")
        life.until(due + 3 * DAY)
        assert (life.held().status, terms(life)) == ("past_due", ("small", 1, 1))
        assert life.engine.subscription(name).debts[0].amount == LARGE
        life.engine.withdraw_change(name)
        life.shop.drain()
        assert life.engine.subscription(name).debts[0].amount == SMALL
        life.pay(max(life.engine.orders("u1"), key=lambda o: o.ledger_id))
        assert (life.held().status, terms(life)) == ("active", ("small", 1, 1))
        assert life.differences() == []

    def test_another_token_and_interval_begin_with_a_period(self, life):
        name = begin(life)
        due = life.held().next_charge_at
        life.plan("yearly", product="desk", interval="year", prices=price(life, 9 * LARGE, "1"))
        seen = change(life, plan="yearly", asset="ETH").preview
        assert (seen.next_asset.symbol, seen.next_amount) == ("ETH", 10**18)
        life.until(due - DAY)
        (asked,) = life.renewals()
        assert (asked.asset.symbol, asked.amount) == ("ETH", 10**18)
        life.pay(asked)
        life.until(due + DAY)
        held = life.held()
        assert (str(held.interval), held.paid_until) == ("year", due.replace(year=due.year + 1))
        assert life.engine.subscription(name).period.index == 1
        assert life.differences() == []

    def test_a_trial_takes_hold_at_its_end(self, memory_life):
        life = memory_life
        plans(life, trial_days=14)
        life.checkout(plan="small")
        with pytest.raises(Conflict) as caught:
            change(life, timing="now", plan="large")
        assert caught.value.details["reason"] == "not_begun"
        change(life, plan="large")
        life.until(life.held().trial_end - DAY)
        asked = life.renewals()[0]
        assert (asked.period, asked.amount) == (0, LARGE)
        life.pay(asked)
        assert terms(life) == ("small", 1, 1)
        life.go(2)
        assert terms(life) == ("large", 1, 1)


class TestRefused:
    @pytest.mark.parametrize("timing", ["now", "next_period"])
    def test_not_as_it_stands(self, timing):
        def reason(prepare):
            life = Life()
            plans(life)
            prepare(life)
            with pytest.raises(Conflict) as caught:
                change(life, timing=timing, plan="large")
            assert caught.value.field == "subscription_id"
            return caught.value.details.get("reason", caught.value.code)

        def paid(then):
            return lambda life: (life.start(plan="small"), then(life, life.held().subscription_id))

        assert reason(lambda life: life.checkout(plan="small")) == "unpaid"
        assert reason(paid(lambda life, _: life.go(40))) == "debt"
        assert reason(paid(lambda life, name: life.engine.cancel_subscription(name))) == "leaving"
        assert reason(paid(lambda life, name: life.engine.pause_subscription(name))) == "paused"
        assert (
            reason(paid(lambda life, name: life.engine.cancel_subscription(name, when="now"))) == "illegal_transition"
        )

    def test_what_cannot_be(self, memory_life):
        life = memory_life
        name = begin(life)
        life.plan("other", product="elsewhere")
        life.plan("yearly", product="desk", interval="year", prices=price(life, LARGE))
        life.plan("gone", product="desk")
        life.plan("coin", product="desk", prices=price(life, LARGE)[1:])
        life.engine.admin(ADMIN).archive_plan("gone")
        for how, error, field in (
            ({}, InputError, "plan"),
            ({"plan": "small"}, InputError, "plan"),
            ({"plan": "nothing"}, UnknownPlan, "plan"),
            ({"plan": "gone"}, ArchivedPlan, "plan"),
            ({"plan": "other"}, InputError, "plan"),
            ({"plan": "pack"}, InputError, "plan"),
            ({"plan": "yearly", "timing": "now"}, InputError, "timing"),
            ({"asset": "ETH", "timing": "now"}, InputError, "asset"),
            ({"network": "local", "timing": "now"}, InputError, "network"),
            ({"plan": "coin", "timing": "now"}, UnknownAsset, "asset"),
            ({"timing": "later"}, InputError, "timing"),
            ({"quantity": 0}, InputError, "quantity"),
        ):
            with pytest.raises(error) as caught:
                life.engine.preview_change(name, **how)
            assert caught.value.field == field, how
            with pytest.raises(error):
                life.engine.change_subscription(name, **how)
        assert life.types().count("subscription.change_scheduled") == 0

    def test_not_while_its_payment_is_being_confirmed(self, memory_life):
        life = memory_life
        name = begin(life)
        half(life)
        life.chain.pay(change(life, timing="now", plan="large").order.order)
        life.chain.mine(1)
        life.shop.drain()
        for call in (lambda: change(life, quantity=4), lambda: life.engine.withdraw_change(name)):
            with pytest.raises(Conflict) as caught:
                call()
            assert caught.value.details["reason"] == "in_flight"

    def test_over_is_over(self, memory_life):
        life = memory_life
        name = begin(life)
        life.engine.cancel_subscription(name, when="now")
        with pytest.raises(IllegalTransition):
            life.engine.preview_change(name, plan="large")

    def test_not_when_the_period_is_about_to_end(self, memory_life):
        life = memory_life
        begin(life)
        life.until(life.held().paid_until - timedelta(seconds=30))
        with pytest.raises(Conflict) as caught:
            change(life, timing="now", plan="large")
        assert caught.value.details["reason"] == "period_ends"

    def test_not_within_a_period_while_later_ones_are_paid_on_other_terms(self, memory_life):
        """Else the difference for five minutes would be the price of a year."""
        life = memory_life
        begin(life)
        for _ in range(2):
            life.shop.buy("u1", plan="small")
        life.until(life.held().table.end(0) - timedelta(minutes=5))
        with pytest.raises(Conflict, match="next_period") as caught:
            change(life, timing="now", plan="large", quantity=1000)
        assert (caught.value.field, caught.value.details["reason"]) == ("timing", "paid_ahead")
        assert change(life, timing="next_period", plan="large").preview.starts_at == life.held().paid_until
        life.until(life.held().table.start(2))
        assert change(life, timing="now", plan="large").order.amount == LARGE - SMALL

    def test_not_while_what_was_paid_before_the_import_lasts(self, memory_life):
        life = memory_life
        plans(life)
        ends, anchor = START.replace(month=8, day=15), START.replace(day=15)
        given = {"external_id": "old", "user_id": "u1", "plan": "small", "wallet": wallet_of("u1"), "paid_until": ends}
        life.engine.admin(ADMIN).adopt(**given, anchor=anchor)
        with pytest.raises(Conflict) as caught:
            change(life, timing="now", plan="large")
        assert (caught.value.field, caught.value.details["reason"]) == ("timing", "paid_ahead")


def test_another_interval_that_has_begun_is_not_withdrawn_before_it_is_paid(memory_life):
    """What was forgiven by weeks would else be years that nobody missed, and one payment would open all of them."""
    life = memory_life
    life.plan("long", product="desk", interval="year")
    life.plan("short", product="desk", interval="week")
    name = life.start(plan="long").subscription_id
    change(life, plan="short")
    life.until(life.held().paid_until)
    life.go(100)
    (owed,) = life.owed()
    before = life.held()
    with pytest.raises(Conflict) as caught:
        life.engine.withdraw_change(name)
    assert caught.value.details["reason"] == "debt"
    life.pay(next(o for o in life.renewals() if o.period == owed))
    table = life.held().table
    assert (life.held().paid_until, table) == (before.table.end(owed), before.table)
    assert (terms(life), life.differences()) == (("short", 1, 1), [])


def test_an_order_that_pays_a_change_is_not_quoted_again_as_a_period(memory_life):
    life = memory_life
    begin(life)
    half(life)
    order = change(life, timing="now", plan="large").order
    life.go(1)
    life.pay(change(life, timing="now", plan="large").order.order)
    assert terms(life) == ("large", 1, 1)
    with pytest.raises(ChangeNeeded) as caught:
        life.engine.requote(order.ledger_id)
    assert caught.value.field == "ledger_id"
