"""What others are told: which events a flow publishes, in which order, once."""

from __future__ import annotations

import json

import pytest
from engine_shop import PRICE, address

PAID = ["payment.seen", "payment.confirmed", "subscription.moved", "plan.changed"]


def restore(shop, order):
    (receipt,) = shop.receipts(order)
    shop.chain.resend(receipt.identity.tx_hash)
    shop.mine(3)


FLOWS = {
    "checkout": (lambda s: s.checkout(), ["order.opened"]),
    "checkout again": (lambda s: [s.checkout() for _ in range(3)], ["order.opened"]),
    "another checkout": (
        lambda s: [s.checkout(), s.checkout("k2")],
        ["order.opened", "order.superseded", "order.opened"],
    ),
    "another plan": (
        lambda s: [s.checkout(), s.checkout("k2", plan="team")],
        ["order.opened", "order.superseded", "subscription.moved", "subscription.ended", "order.opened"],
    ),
    "seen": (lambda s: s.pay(s.checkout(), depth=1), ["order.opened", "payment.seen"]),
    "paid block by block": (
        lambda s: [s.pay(s.checkout(), depth=1), s.mine(), s.mine()],
        ["order.opened", *PAID],
    ),
    "paid": (lambda s: s.pay(s.checkout()), ["order.opened", *PAID]),
    "final": (lambda s: [s.pay(s.checkout()), s.mine(20)], ["order.opened", *PAID, "payment.final"]),
    "final at once": (
        lambda s: s.pay(s.checkout(), depth=20),
        ["order.opened", "payment.seen", "payment.confirmed", "payment.final", "subscription.moved", "plan.changed"],
    ),
    "gone before it counted": (
        lambda s: [s.pay(s.checkout(), depth=2), s.reorganise(2)],
        ["order.opened", "payment.seen"],
    ),
    "reversed": (
        lambda s: [s.pay(s.checkout()), s.reorganise(3)],
        ["order.opened", *PAID, "payment.reversed", "subscription.moved", "plan.changed"],
    ),
    "reversed and restored": (
        lambda s: [s.pay(order := s.checkout()), s.reorganise(3), restore(s, order)],
        ["order.opened", *PAID, "payment.reversed", "subscription.moved", "plan.changed", *PAID],
    ),
    "next period": (
        lambda s: [s.pay(s.checkout()), s.pay(s.checkout("k2"))],
        ["order.opened", *PAID, "order.opened", "payment.seen", "payment.confirmed"],
    ),
    "paid twice": (
        lambda s: [s.pay(order := s.checkout()), s.pay(order)],
        ["order.opened", *PAID, "payment.unmatched"],
    ),
    "paid to the wrong treasury": (
        lambda s: s.pay(s.checkout(), treasury=address("x")),
        ["order.opened", "payment.unmatched"],
    ),
    "too little": (lambda s: s.pay(s.checkout(), amount=1), ["order.opened", "payment.seen"]),
    "expired": (lambda s: [s.checkout(), s.mine(2, seconds=3000)], ["order.opened", "order.expired"]),
    "late": (
        lambda s: [order := s.checkout(), s.mine(seconds=3000), s.pay(order)],
        ["order.opened", "order.expired", "payment.unmatched"],
    ),
    "trial": (lambda s: s.checkout(plan="trial"), ["plan.changed", "order.opened"]),
    "trial, paid": (
        lambda s: s.pay(s.checkout(plan="trial")),
        ["plan.changed", "order.opened", "payment.seen", "payment.confirmed"],
    ),
    "purchase": (
        lambda s: s.pay(s.checkout(plan="once")),
        ["order.opened", "payment.seen", "payment.confirmed", "plan.changed"],
    ),
    "purchase, reversed": (
        lambda s: [s.pay(s.checkout(plan="once")), s.reorganise(3)],
        ["order.opened", "payment.seen", "payment.confirmed", "plan.changed", "payment.reversed", "plan.changed"],
    ),
    "the superseded one is paid": (
        lambda s: [first := s.checkout(), s.checkout("k2"), s.pay(first)],
        ["order.opened", "order.superseded", "order.opened", *PAID[:2], "order.cancelled", *PAID[2:]],
    ),
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_publishes_exactly(memory_shop, name):
    flow, expected = FLOWS[name]
    flow(memory_shop)
    assert memory_shop.types() == expected
    before = memory_shop.dump()["events"]
    memory_shop.settle()
    memory_shop.settle()
    assert memory_shop.dump()["events"] == before


@pytest.mark.parametrize("name", FLOWS)
def test_events_are_plain_json_and_say_whom_they_are_about(memory_shop, name):
    FLOWS[name][0](memory_shop)
    for event in memory_shop.events(aggregate="customer:u1"):
        assert json.loads(json.dumps(event.data)) == event.data
        assert event.data["user_id"] == "u1"
        assert event.type.startswith("billing.")
        assert event.type.endswith(".v1")
        assert not [v for v in event.data.values() if isinstance(v, float)]
        if "amount" in event.data:
            assert isinstance(event.data["amount"], str)


def test_an_event_says_what_happened_when_and_when_we_learned_it(memory_shop):
    order = memory_shop.checkout()
    memory_shop.chain.pay(order.order)
    memory_shop.chain.mine(3)
    memory_shop.clock.advance(hours=1)
    memory_shop.settle()
    (event,) = memory_shop.events(type_="billing.payment.confirmed.v1")
    assert event.occurred_at == memory_shop.chain.header(1).timestamp
    assert event.recorded_at == memory_shop.clock.now()
    expected = {"ledger_id": order.ledger_id, "amount": str(PRICE), "status": "confirmed", "plan": "pro"}
    assert expected.items() <= event.data.items()


def test_a_change_of_plan_says_what_is_allowed_from_then_on(memory_shop):
    memory_shop.pay(memory_shop.checkout(quantity=2))
    memory_shop.reorganise(3)
    first, second = memory_shop.events(type_="billing.plan.changed.v1")
    assert (first.data["old_plan"], first.data["new_plan"], first.data["limits"]) == (None, "pro", {"seats": 10})
    assert (second.data["old_plan"], second.data["new_plan"], second.data["limits"]) == ("pro", None, {})
    assert first.data["subscription_id"] == memory_shop.subscription().subscription_id
    assert first.data["effective_at"] <= second.data["effective_at"]


def test_every_customer_counts_alone(memory_shop):
    for user in ("a", "b"):
        memory_shop.chain.pay(memory_shop.checkout(user_id=user).order)
    memory_shop.mine(20)
    for user in ("a", "b"):
        assert len(memory_shop.types(f"customer:{user}")) == 6
        assert memory_shop.admin.customer(user).event_seq == 6
    assert len({e.event_id for e in memory_shop.events()}) == 12
