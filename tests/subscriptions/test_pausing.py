"""Pausing and resuming: paid time is kept to the second, nothing is asked for, and the calendar goes on from there."""

from __future__ import annotations

import pytest
from life_bench import DAY, LADDER, START

from evmbilling.errors import Conflict, IllegalTransition, InputError

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""


def pause(life, **how):
    return life.engine.pause_subscription(life.held().subscription_id, **how)


def resume(life, **how):
    return life.engine.resume_subscription(life.held().subscription_id, **how)


class TestNow:
    def test_what_is_left_of_the_paid_time_goes_on_when_it_is_resumed(self, life):
        life.start()
        until, began = life.held().paid_until, life.held().anchor
        life.go(10)
        since = life.clock.now()
        seen = pause(life, user_id="u1", reason="holiday")
        assert (seen.subscription.status, seen.pause, seen.remaining) == ("paused", since, until - since)
        assert (seen.period, seen.subscription.next_charge_at, seen.debts) == (None, None, ())
        assert life.engine.access("u1").reason == "paused"
        assert life.told("plan.changed")[-1]["cause"] == "pause"
        life.go(100)
        assert (life.held().status, life.renewals(), life.owed()) == ("paused", [], [])
        assert life.differences() == []
        back = resume(life, user_id="u1")
        now = life.clock.now()
        held = back.subscription
        assert (held.status, held.paid_until, held.next_charge_at) == ("active", now + (until - since), held.paid_until)
        assert (back.period.start, back.period.end) == (began, held.paid_until)
        assert life.engine.access("u1").allowed
        life.until(held.paid_until - DAY)
        (asked,) = life.renewals()
        assert asked.due_at == held.paid_until
        life.pay(asked)
        life.go(40, release=True)
        assert life.differences() == []

    def test_time_that_is_paid_ahead_ends_later_by_just_as_long_as_the_pause(self, life):
        life.start()
        for number in range(3):
            life.pay(life.checkout(idempotency_key=f"ahead-{number}").order)
        table, until = life.held().table, life.held().paid_until
        life.go(10)
        began = life.clock.now()
        pause(life)
        life.go(34)
        resume(life)
        by = life.clock.now() - began
        held = life.held()
        assert (held.paid_periods, held.paid_until) == (4, until + by)
        lengths = [(t.end(n) - t.start(n)).days for t in (table, held.table) for n in (1, 2, 3)]
        assert lengths == [31, 30, 31] * 2
        assert life.differences() == []
        life.go(120)
        assert held.table.start(3) == life.held().table.start(3)
        assert life.differences() == []

    def test_a_renewal_that_is_asked_for_is_withdrawn_and_asked_for_anew(self, life):
        life.start()
        life.until(life.held().next_charge_at - 2 * DAY)
        (old,) = life.renewals()
        pause(life)
        assert life.engine.order(old.ledger_id).status == "superseded"
        life.go(50)
        resume(life)
        life.go(1.5)
        (anew,) = [o for o in life.engine.orders("u1") if o.status == "pending"]
        assert (anew.period, anew.origin, anew.due_at) == (1, "change", life.held().paid_until)
        life.pay(anew)
        assert life.held().paid_periods == 2
        life.go(40, release=True)
        assert life.differences() == []

    def test_money_for_what_was_withdrawn_prolongs_it(self, memory_life):
        life = memory_life
        life.start()
        life.until(life.held().next_charge_at - 2 * DAY)
        pause(life)
        life.pay(life.renewals()[0])
        assert (life.held().status, life.held().paid_periods) == ("paused", 2)
        left = life.held().paid_until - life.clock.now()
        life.go(5)
        resume(life)
        assert life.held().paid_until - life.clock.now() > left
        assert life.differences() == []

    def test_the_same_again_changes_nothing(self, memory_life):
        life = memory_life
        life.start()
        pause(life)
        before = life.held(), life.types()
        pause(life)
        pause(life, when="period_end")
        assert (life.held(), life.types()) == before
        resume(life)
        before = life.held(), life.types()
        resume(life)
        assert (life.held(), life.types()) == before

    def test_twice_in_a_period_adds_up(self, memory_life):
        life = memory_life
        life.start()
        until = life.held().paid_until
        for _ in range(2):
            life.go(3)
            pause(life)
            life.go(7)
            resume(life)
        assert life.held().paid_until == until + 14 * DAY
        assert life.differences() == []


def boundaries(life):
    return [life.held().table.start(n) for n in range(9)]


class TestTheDatesAfterwards:
    def test_another_zone_among_what_is_paid_ahead_moves_the_end_by_nothing_more(self, life):
        name = life.start().subscription_id
        life.pay(life.checkout(idempotency_key="ahead-0").order)
        life.engine.change_zone(name, "Pacific/Kiritimati")
        for number in (1, 2):
            life.pay(life.checkout(idempotency_key=f"ahead-{number}").order)
        before, until = life.held().table, life.held().paid_until
        assert before.segment(2).stub
        life.go(10)
        began = life.clock.now()
        pause(life)
        life.go(29)
        resume(life)
        held, by = life.held(), life.clock.now() - began
        assert [held.table.start(n) - before.start(n) for n in (1, 2, 3, 4)] == [by] * 4
        assert (held.paid_until, held.table.share(2)[0]) == (until + by, before.share(2)[0])
        life.go(120)
        assert life.differences() == []

    def test_another_zone_that_is_asked_for_in_a_pause_begins_with_the_next_period(self, memory_life):
        life = memory_life
        name = life.start().subscription_id
        life.go(3)
        pause(life)
        life.go(100)
        life.engine.change_zone(name, "Pacific/Kiritimati")
        resume(life)
        assert [life.held().table.zone(n) for n in (0, 1)] == ["UTC", "Pacific/Kiritimati"]
        assert life.differences() == []

    @pytest.mark.parametrize("known", ["before it is resumed", "only seen then", "afterwards"])
    def test_they_stay_when_a_payment_becomes_known_goes_away_or_comes_back(self, life, known):
        life.start()
        life.go(3)
        pause(life)
        life.go(30)
        sent = life.chain.pay(life.checkout(idempotency_key="ahead").order)
        if known == "before it is resumed":
            life.shop.settle()
        elif known == "only seen then":
            life.shop.settle(1)
        else:
            life.chain.mine()
        resume(life)
        dates = boundaries(life)
        life.shop.settle()
        assert (life.held().paid_periods, boundaries(life)) == (2, dates)
        life.chain.reorganise(life.chain.head.number - life.chain.block_of(sent).number + 1, keep=[])
        life.shop.settle()
        assert (life.held().paid_periods, boundaries(life)) == (1, dates)
        assert life.differences() == []
        life.chain.resend(sent)
        life.shop.settle()
        assert (life.held().paid_periods, boundaries(life)) == (2, dates)
        assert life.differences() == []
        life.engine.rescan(life.shop.network, 0)
        life.go(60)
        assert boundaries(life) == dates
        assert life.differences() == []


class TestAtThePeriodsEnd:
    def test_the_paid_time_is_used_up_first_and_the_next_period_begins_when_it_is_resumed(self, life):
        life.start()
        until = life.held().paid_until
        seen = pause(life, when="period_end")
        assert (seen.subscription.status, seen.pause, seen.remaining) == ("active", until, None)
        life.until(until - DAY)
        assert (life.renewals(), life.engine.access("u1").allowed) == ([], True)
        life.until(until + 20 * DAY)
        assert (life.held().status, life.renewals(), life.owed()) == ("paused", [], [])
        assert life.engine.access("u1").reason == "paused"
        back = resume(life)
        now = life.clock.now()
        assert (back.subscription.next_charge_at, back.subscription.paid_until) == (now, now)
        life.shop.drain()
        (asked,) = life.renewals()
        assert (asked.due_at, life.held().status) == (now, "past_due")
        life.pay(asked)
        assert life.held().status == "active"
        assert life.engine.access("u1").until == life.held().paid_until
        life.go(40, release=True)
        assert life.differences() == []

    def test_it_is_taken_back_before_it_begins(self, memory_life):
        life = memory_life
        life.start()
        until = life.held().paid_until
        pause(life, when="period_end")
        assert resume(life).pause is None
        life.until(until - DAY)
        life.pay(life.renewals()[0])
        life.until(until + DAY)
        assert (life.held().status, life.held().paid_periods) == ("active", 2)

    def test_now_takes_the_place_of_later(self, memory_life):
        life = memory_life
        life.start()
        until = life.held().paid_until
        pause(life, when="period_end")
        life.go(1)
        assert pause(life).subscription.status == "paused"
        life.go(9)
        resume(life)
        assert life.held().paid_until == until + 9 * DAY


class TestRefused:
    def test_on_trial_unpaid_and_over(self, memory_life):
        life = memory_life
        life.plan(trial_days=14)
        life.checkout()
        with pytest.raises(IllegalTransition) as caught:
            pause(life)
        assert caught.value.details["before"] == "trialing"
        life.engine.cancel_subscription(life.held().subscription_id, when="now")
        for call in (pause, resume):
            with pytest.raises(IllegalTransition):
                call(life)
        life.plan("plain")
        life.checkout(plan="plain", idempotency_key="second")
        with pytest.raises(IllegalTransition):
            pause(life)

    def test_debt_is_paid_first(self, memory_life):
        life = memory_life
        life.start(plan=life.plan(dunning={"steps": LADDER}))
        life.go(40)
        with pytest.raises(Conflict) as caught:
            pause(life)
        assert caught.value.details["reason"] == "debt"

    def test_not_when_it_is_to_end(self, memory_life):
        life = memory_life
        name = life.start().subscription_id
        life.engine.cancel_subscription(name)
        with pytest.raises(Conflict) as caught:
            pause(life)
        assert caught.value.details["reason"] == "leaving"
        with pytest.raises(InputError):
            pause(life, when="soon")


def test_who_leaves_while_paused_leaves_when_the_paid_time_would_have_ended(memory_life):
    life = memory_life
    name = life.start().subscription_id
    until = life.held().paid_until
    life.go(3)
    pause(life)
    life.engine.cancel_subscription(name)
    life.until(until + DAY)
    assert life.held().status == "ended"
    assert until > START


def test_a_change_that_waits_for_the_next_period_waits_through_a_pause(memory_life):
    life = memory_life
    name = life.start().subscription_id
    life.engine.change_subscription(name, quantity=3)
    life.go(3)
    pause(life)
    life.go(60)
    resume(life)
    life.until(life.held().paid_until - DAY)
    assert life.renewals()[0].quantity == 3


def test_a_difference_is_counted_without_the_time_that_was_paused(memory_life):
    life = memory_life
    name = life.start().subscription_id
    life.go(14)
    before = life.engine.preview_change(name, timing="now", quantity=2)
    pause(life)
    life.go(300)
    resume(life)
    after = life.engine.preview_change(name, timing="now", quantity=2)
    assert abs(after.pay_now - before.pay_now) <= 2 * 19_990_000 // (28 * 86_400) + 1


def test_a_checkout_does_not_end_what_is_paused_with_paid_time_left(memory_life):
    life = memory_life
    name = life.start().subscription_id
    life.go(5)
    pause(life)
    left = life.engine.subscription(name).remaining
    life.go(100)
    offer = life.checkout(idempotency_key="again")
    assert (offer.order.subscription_id, offer.order.period) == (name, 1)
    life.pay(offer.order)
    resume(life)
    held = life.held()
    assert (held.subscription_id, held.status, held.paid_periods) == (name, "active", 2)
    assert held.table.end(0) - life.clock.now() == left
    assert life.differences() == []


def test_a_checkout_begins_anew_after_a_pause_that_left_nothing(memory_life):
    life = memory_life
    name = life.start().subscription_id
    pause(life, when="period_end")
    life.go(100)
    offer = life.checkout(idempotency_key="again")
    assert offer.order.subscription_id != name
    life.pay(offer.order)
    assert life.engine.access("u1", product="life").allowed


def test_a_difference_within_a_stub_is_counted_without_the_time_that_was_paused(memory_life):
    life = memory_life
    life.plan(interval="day")
    name = life.start(plan="life").subscription_id
    life.engine.change_zone(name, "Pacific/Kiritimati")
    life.pay(life.renewals()[0])
    life.until(life.held().paid_until - DAY / 24)
    life.pay(life.renewals()[1])
    life.until(life.held().table.start(2) + DAY / 24)
    assert life.held().table.segment(2).stub
    before = life.engine.preview_change(name, timing="now", quantity=2)
    pause(life)
    life.go(20)
    resume(life)
    after = life.engine.preview_change(name, timing="now", quantity=2)
    assert abs(after.pay_now - before.pay_now) <= 1


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("gone", ["first", "all"])
def test_a_pause_counts_though_it_was_resumed_while_the_chain_had_taken_the_first_payment_back(
    memory_life, ahead, gone
):
    """The dates are as if the payment had been there all the time."""
    life = memory_life
    life.shop.checkout("u1", plan=life.plan(), idempotency_key="first")
    sent = [life.chain.pay(life.engine.orders("u1")[0])]
    life.shop.settle()
    for number in range(ahead):
        sent.append(life.chain.pay(life.checkout(idempotency_key=f"ahead-{number}").order))
        life.shop.settle()
    life.shop.clock.advance(minutes=10)
    began, until, table = life.clock.now(), life.held().paid_until, life.held().table
    pause(life)
    life.shop.clock.advance(hours=3)
    life.chain.reorganise(life.chain.head.number, keep=[] if gone == "all" else sent[1:])
    life.shop.settle(1)
    assert (life.held().status, life.held().paid_until, life.held().anchor) == ("paused", None, None)
    resume(life)
    by = life.clock.now() - began
    for tx in sent if gone == "all" else sent[:1]:
        life.chain.resend(tx)
    life.shop.settle()
    held = life.held()
    assert (held.status, held.paid_periods) == ("active", 1 + ahead)
    moved = held.anchor - table.start(0)
    assert held.paid_until - moved == until + by
    lengths = [[t.end(n) - t.start(n) for n in range(1, 1 + ahead)] for t in (table, held.table)]
    assert lengths[0] == lengths[1]
    assert life.differences() == []
    life.engine.rescan(life.shop.network, 0)
    life.shop.settle()
    assert (life.held().paid_until, life.differences()) == (held.paid_until, [])


def test_a_pause_before_the_first_payment_that_is_left_moves_nothing(memory_life):
    """The payment never came back; another one began the calendar after the pause."""
    life = memory_life
    life.shop.checkout("u1", plan=life.plan(), idempotency_key="first")
    first = life.engine.orders("u1")[0]
    life.chain.pay(first)
    life.shop.settle()
    pause(life)
    life.shop.clock.advance(minutes=5)
    life.chain.reorganise(life.chain.head.number, keep=[])
    life.shop.settle(1)
    resume(life)
    life.shop.clock.advance(minutes=5)
    life.chain.mine(1, timestamp=life.clock.now())
    life.pay(first)
    held = life.held()
    assert (held.status, held.paid_periods, held.paid_until) == ("active", 1, held.table.end(0))
    assert held.paid_until - held.anchor == DAY * 28  # from 31 January
    assert life.differences() == []
