"""Changes, a cancellation and a payment at once: one serial order, one legal state, books that balance."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from test_changes import begin, change, half, terms

from evmbilling.errors import Conflict, RetryTransaction


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_eight_threads_end_in_one_legal_state(open_life, database):
    life = open_life(database)
    name = begin(life)
    half(life)
    made = change(life, timing="now", plan="large")
    life.chain.pay(made.order.order)
    life.chain.mine(3)
    life.clock.set(max(life.clock.now(), life.chain.head.timestamp))
    engine = life.engine
    gate = threading.Barrier(8)
    refused: list[str] = []
    calls = [
        lambda: engine.change_subscription(name, timing="now", quantity=2),
        lambda: engine.change_subscription(name, plan="large", quantity=3),
        lambda: engine.change_subscription(name, timing="now", plan="large"),
        lambda: engine.withdraw_change(name),
        lambda: engine.pause_subscription(name),
        lambda: engine.cancel_subscription(name, when="now"),
        lambda: [engine.read_chain(life.shop.network), engine.run_intake()],
        engine.run_intake,
    ]

    def run(call):
        gate.wait()
        for _ in range(20):
            try:
                call()
            except RetryTransaction:
                continue
            except Conflict as error:
                refused.append(error.details.get("reason", error.code))
            return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, calls))
    life.shop.settle()
    held = life.held()
    assert held.status == "ended"
    assert terms(life)[0] in {"small", "large"}
    paid = engine.order(made.order.ledger_id).status in {"confirmed", "final"}
    assert paid == (terms(life)[0] == "large")
    assert not [o for o in engine.orders("u1") if o.status in {"pending", "partially_paid"}]
    life.go(40, release=True)
    assert life.differences() == []


@pytest.mark.fault("B07")
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_b07_a_withdrawal_that_races_with_the_payment_is_one_of_the_two(open_life, database):
    life = open_life(database)
    name = begin(life)
    half(life)
    made = change(life, timing="now", plan="large")
    life.chain.pay(made.order.order)
    life.chain.mine(1)
    gate = threading.Barrier(2)

    def withdraw():
        gate.wait()
        try:
            life.engine.withdraw_change(name)
        except Conflict as error:
            return error.details["reason"]
        return "withdrawn"

    def take():
        gate.wait()
        life.engine.read_chain(life.shop.network)
        life.engine.run_intake()

    with ThreadPoolExecutor(2) as pool:
        told, _ = pool.submit(withdraw), pool.submit(take)
    assert told.result() in {"withdrawn", "in_flight"}
    life.shop.settle()
    assert terms(life) == ("large", 1, 1)
    assert life.differences() == []


def test_a_host_that_rolls_back_has_changed_nothing(open_life):
    life = open_life("sqlite")
    name = begin(life)
    half(life)
    host = sa.create_engine(life.engine._ports.storage._engine.url)
    with host.connect() as connection:
        with life.engine.within(connection) as billing:
            made = billing.change_subscription(name, timing="now", plan="large", user_id="u1")
            assert made.order.payload is not None
            assert billing.preview_change(name, plan="large").next_amount == 30_000_000
            assert billing.withdraw_change(name).waiting is None
            assert billing.pause_subscription(name).subscription.status == "paused"
            assert billing.resume_subscription(name).subscription.status == "active"
        connection.rollback()
        with life.engine.within(connection) as billing:
            kept = billing.change_subscription(name, timing="now", plan="large")
        connection.commit()
    host.dispose()
    assert [o.ledger_id for o in life.engine.orders("u1") if o.origin == "change"] == [kept.order.ledger_id]
    life.pay(kept.order.order)
    assert terms(life) == ("large", 1, 1)
