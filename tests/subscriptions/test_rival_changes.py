"""Several changes of the same terms that are all paid: one holds, and all other money is the customer's credit."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from life_bench import ADMIN, Life

from evmbilling.domain.states import PAID_ORDERS, SUPPORTING_RECEIPTS
from evmbilling.testing.merchant import plan_fields

APART = timedelta(seconds=30)


def rivals(life, *quantities):
    """Offers to change the quantity, each of which takes the place of the one before; none is paid yet."""
    life.engine.admin(ADMIN).create_plan(**plan_fields(life.shop, "desk", product="desk"))
    name = life.start(plan="desk").subscription_id
    life.go(10)
    made = []
    for quantity in quantities:
        made.append(life.engine.change_subscription(name, timing="now", quantity=quantity).order.order)
        life.clock.set(life.clock.now() + APART)
    life.chain.mine(1, timestamp=max(life.clock.now(), life.chain.head.timestamp + APART))
    return made


def state(life):
    """Where everything is: the terms, each order, the place of each receipt, and the credit."""
    orders = sorted(life.engine.orders("u1"), key=lambda o: o.ledger_id)
    credit = sum(c.held for c in life.engine.refunds(ADMIN).credit("u1"))
    return (
        life.held().quantity,
        [(o.amount, "paid" if o.status in PAID_ORDERS else str(o.status)) for o in orders],
        [[(r.amount, r.allocation, r.reason) for r in life.engine.receipts(o.ledger_id)] for o in orders],
        credit,
    )


def conserved(life):
    """Whether what complete orders took and the credit are all that was received."""
    orders = life.engine.orders("u1")
    receipts = [r for o in orders for r in life.engine.receipts(o.ledger_id)]
    took = sum(o.amount for o in orders if o.status in PAID_ORDERS)
    return took + state(life)[3] == sum(r.amount for r in receipts if r.status in SUPPORTING_RECEIPTS)


@pytest.mark.parametrize("first", [0, 1])
def test_two_paid_before_anything_is_read_leave_one_that_holds(life, first):
    made = rivals(life, 2, 5)
    life.chain.pay(made[first])
    life.chain.mine()
    life.pay(made[1 - first])
    assert life.held().quantity == (2, 5)[first]
    assert [r.reason for r in life.engine.receipts(made[1 - first].ledger_id)] == ["change_replaced"]
    assert state(life)[3] == made[1 - first].amount
    assert conserved(life)
    assert life.differences() == []


def test_three_are_the_same_again_when_they_are_final_and_their_credit_is_given_back_as_a_whole(life):
    made = rivals(life, 2, 5, 9)
    for order in made:
        life.chain.pay(order)
    life.shop.settle()
    before = state(life)
    assert (before[0], before[3]) == (2, made[1].amount + made[2].amount)
    life.shop.settle(25)
    after = state(life)
    assert after == before
    assert conserved(life)
    refunds = life.engine.refunds(ADMIN)
    assert refunds.request_credit("u1", reason="replaced", amount=1).amount == 1
    assert state(life)[3] == before[3] - 1
    assert refunds.request_credit("u1", reason="replaced").amount == before[3] - 1
    assert (life.held().quantity, state(life)[3]) == (2, 0)
    assert life.differences() == []


def test_a_payment_that_the_chain_takes_back_hands_its_place_to_the_next(memory_life):
    life = memory_life
    first, second = rivals(life, 2, 5)
    paid = life.chain.pay(first)
    life.chain.mine()
    kept = life.chain.pay(second)
    life.shop.settle()
    assert life.held().quantity == 2
    depth = life.chain.head.number - life.chain.block_of(paid).number + 1
    life.chain.reorganise(depth, keep=[kept])
    life.shop.settle()
    assert (life.held().quantity, state(life)[3]) == (5, 0)
    assert conserved(life)
    life.chain.resend(paid)
    life.shop.settle()
    assert (life.held().quantity, state(life)[3]) == (5, first.amount)
    assert conserved(life)
    assert life.differences() == []


def paid_in(order, gaps, *, read_each):
    life = Life()
    made = rivals(life, *(2, 5, 9)[: len(order)])
    for which, (blocks, reads) in zip(order, gaps, strict=False):
        life.chain.pay(made[which])
        if blocks:
            life.chain.mine(blocks)
        if reads or read_each:
            life.shop.settle(3 if read_each else 1)
    life.shop.settle()
    return life


@settings(max_examples=4)
@given(
    order=st.sampled_from([2, 3]).flatmap(lambda n: st.permutations(range(n))),
    gaps=st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=3, max_size=3),
)
def test_however_payments_are_read_the_end_is_that_of_one_by_one(order, gaps):
    alone, together = (paid_in(order, gaps, read_each=each) for each in (True, False))
    assert state(together) == state(alone)
    assert together.held().quantity == (2, 5, 9)[order[0]]
    for life in (alone, together):
        assert conserved(life)
        life.shop.settle(25)
    assert state(together) == state(alone)
    assert conserved(together)
    assert together.differences() == []
