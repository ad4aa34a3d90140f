"""Money that names no order, taken in one by one or at once, late or as it comes: it ends where it would anyway."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from till import OTHER_TOKEN, PRICE, ROOT, TOKEN, TREASURY, Till, address

from evmbilling.domain.payments.matching import STAMPED_EARLY

pytestmark = pytest.mark.in_turn
"""What these rows say, no database decides."""

CHEAP = 5_000_000


def pay(till: Till, amount: int, *, live: int | None = None) -> None:
    """Send, mine one block, and take in at once where ``live`` says how many at a time; the clock goes on a little."""
    till.chain.transfer(TOKEN, address("u1"), TREASURY, amount)
    till.chain.mine()
    if live:
        till.settle(limit=live)
    till.clock.set(till.chain.head.timestamp + timedelta(seconds=5))


def finish(till: Till) -> None:
    till.chain.mine(25)
    till.settle()


@pytest.mark.fault("Z03")
@pytest.mark.parametrize("live", [None, 1])
def test_z03_two_things_that_are_bought_one_after_the_other_are_both_paid(memory_till, live):
    till = memory_till()
    first = till.checkout()
    pay(till, PRICE, live=live)
    second = till.checkout(plan="once", key="k2")
    pay(till, CHEAP, live=live)
    finish(till)
    assert till.placed() == [("order", None, "u1", PRICE), ("order", None, "u1", CHEAP)]
    assert [till.status(made) for made in (first, second)] == ["final", "final"]
    assert till.differences() == []


def test_parts_that_were_taken_in_before_complete_an_order_with_what_comes_at_once(make_till):
    till = make_till()
    first = till.checkout()
    pay(till, PRICE - 2, live=1)
    assert till.status(first) == "partially_paid"
    pay(till, 2)
    second = till.checkout(plan="once", key="k2")
    pay(till, CHEAP)
    finish(till)
    assert [till.status(made) for made in (first, second)] == ["final", "final"]
    assert till.differences() == []


@pytest.mark.fault("Z03")
@pytest.mark.parametrize("deep", [False, True])
def test_z03_what_came_just_before_an_order_pays_it_however_deep_the_money_before_is(memory_till, deep):
    till = memory_till()
    first = till.checkout()
    pay(till, PRICE)
    if deep:
        till.mine(5)
    pay(till, CHEAP)
    second = till.checkout(plan="once", key="k2")
    finish(till)
    assert till.placed() == [("order", None, "u1", PRICE), ("order", None, "u1", CHEAP)]
    assert [till.status(made) for made in (first, second)] == ["final", "final"]
    assert till.differences() == []


@pytest.mark.fault("Z03")
@pytest.mark.parametrize(("ahead", "place"), [(15, ("suspense", "wrong_token")), (16, ("credit", "no_order"))])
def test_z03_the_wrong_token_in_a_block_stamped_early_waits_for_a_person(make_till, ahead, place):
    till = make_till()
    till.wallet()
    till.chain.transfer(OTHER_TOKEN, address("u1"), TREASURY, PRICE)
    till.chain.mine()
    till.clock.set(till.chain.head.timestamp + timedelta(seconds=ahead))
    made = till.checkout()
    till.mine(5)
    assert (till.placed(), till.status(made)) == ([(*place, "u1", PRICE)], "pending")
    assert till.differences() == []


@pytest.mark.fault("Z03")
@pytest.mark.parametrize(("ahead", "place"), [(15, ("suspense", "wrong_network")), (16, ("credit", "no_order"))])
def test_z03_the_wrong_network_in_a_block_stamped_early_waits_for_a_person(memory_till, ahead, place):
    till = memory_till(networks=2)
    till.wallet()
    other = till.chains["fake2"]
    other.transfer(TOKEN, address("u1"), TREASURY, PRICE)
    other.mine()
    till.clock.set(other.head.timestamp + timedelta(seconds=ahead))
    made = till.checkout(network="fake")
    other.mine(5)
    till.settle()
    assert (till.placed(), till.status(made)) == ([(*place, "u1", PRICE)], "pending")
    assert till.differences() == []


@pytest.mark.fault("Z03")
@pytest.mark.parametrize(("ahead", "reason"), [(15, "marked_paid"), (16, "no_order")])
def test_z03_money_for_an_order_that_was_marked_as_paid_meanwhile_says_so(memory_till, ahead, reason):
    till = memory_till()
    till.wallet()
    till.chain.transfer(TOKEN, address("u1"), TREASURY, PRICE)
    till.chain.mine()
    till.clock.set(till.chain.head.timestamp + timedelta(seconds=ahead))
    made = till.checkout()
    till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="paid in cash")
    till.mine(5)
    assert till.placed() == [("credit", reason, "u1", PRICE)]
    assert till.differences() == []


@pytest.mark.fault("Z03")
@pytest.mark.parametrize("delay", [-30, -1, 0, 1, 30])
def test_z03_a_block_that_comes_back_with_another_time_leaves_the_money_where_it_is(make_till, delay):
    """Also from before its order's window, or behind it."""
    till = make_till()
    till.wallet()
    till.clock.set(till.chain.head.timestamp + timedelta(seconds=60))
    till.chain.mine(5)
    sent = till.chain.transfer(TOKEN, address("u1"), TREASURY, PRICE)
    till.chain.mine()
    stamped = till.chain.head.timestamp
    till.clock.set(stamped + STAMPED_EARLY)
    made = till.checkout()
    till.mine(4)
    assert till.status(made) == "confirmed"
    till.chain.reorganise(5)
    till.chain.resend(sent)
    till.mine(timestamp=stamped + timedelta(seconds=delay))
    till.mine(25)
    assert (till.status(made), till.placed()) == ("final", [("order", None, "u1", PRICE)])
    assert till.allowed()
    assert till.differences() == []


def story(till: Till, seed: int, *, live: int | None) -> list[tuple[str, str | None, str | None, int]]:
    """Buy and pay at random, each order more than the window behind the last block; say where the money ended."""
    random = Random(seed)
    till.wallet()
    for number in range(8):
        if random.random() < 0.5:
            till.clock.set(till.chain.head.timestamp + STAMPED_EARLY + timedelta(seconds=1))
            till.checkout(plan="once", key=f"k{number}")
        for _ in range(random.randrange(3)):
            pay(till, random.choice([1, CHEAP - 1, CHEAP, CHEAP, CHEAP + 1]), live=live)
        if random.random() < 0.3:
            till.chain.mine(random.randrange(1, 6))
            if live:
                till.settle(limit=live)
    finish(till)
    return till.placed()


@pytest.mark.parametrize("seed", range(12))
def test_a_reader_that_was_away_places_money_like_one_that_was_there(memory_till, seed):
    live = story(memory_till(), seed, live=50)
    assert Counter(live) == Counter(story(memory_till(), seed, live=None))


@pytest.mark.parametrize("seed", range(2))
def test_every_movement_of_a_story_counts_once(make_till, seed):
    till = make_till()
    placed = story(till, seed, live=None)
    sent = [m.amount for m in till.movements()]
    assert sorted(sent) == sorted(amount for *_, amount in placed)
    assert -till.accounts()["treasury"] == sum(sent)
    assert till.differences() == []
    till.engine.rescan("fake", from_block=1)
    till.settle()
    assert (till.placed(), till.differences()) == (placed, [])


@pytest.mark.fault("Z01")
def test_z01_what_is_marked_as_paid_after_the_clock_went_back_is_given_since_it_was_ordered(make_till):
    till = make_till()
    made = till.checkout(plan="once")
    till.clock.set(made.order.created_at - timedelta(seconds=5))
    till.engine.finance(ROOT).mark_paid(made.ledger_id, reason="in cash")
    assert till.differences() == []
    till.clock.set(made.order.created_at)
    assert till.allowed()


def test_more_than_a_batch_holds_is_taken_in_as_the_chain_has_it(till):
    """What was paid first is looked at first: the money of the second order does not find the first one unpaid."""
    buyers = [f"u{number}" for number in range(12)]
    bought = []
    for plan, amount in (("once", CHEAP), ("pro", PRICE)):
        bought += [till.checkout(user, plan=plan, key=plan) for user in buyers]
        for user in buyers:
            till.chain.transfer(TOKEN, address(user), TREASURY, amount)
        till.chain.mine()
        till.clock.set(till.chain.head.timestamp + timedelta(seconds=5))
    till.chain.mine(25)
    till.settle(limit=5)
    assert {place for place, *_ in till.placed()} == {"order"}
    assert {till.status(made) for made in bought} == {"final"}
    assert till.differences() == []
