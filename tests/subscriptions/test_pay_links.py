"""Pay links: a token of its own for one order, hashed at rest, replaced by the next one."""

from __future__ import annotations

import re

import pytest
from life_bench import DAY, wallet_of

from evmbilling.domain.selling.pay_links import AFTERWARDS, ROTATION, hash_token
from evmbilling.errors import Conflict, NotFound


@pytest.fixture
def asked(life):
    """A life with a renewal that is asked for."""
    life.start()
    life.until(life.held().next_charge_at - DAY)
    return life


def test_a_link_leads_to_the_order_ready_to_be_paid(asked):
    (order,) = asked.renewals()
    link = asked.engine.issue_pay_link(order.ledger_id, user_id="u1")
    offer = asked.engine.pay_link(link.token)
    assert (offer.ledger_id, offer.next, offer.payload) == (
        order.ledger_id,
        "pay",
        asked.engine.order(order.ledger_id).payload,
    )
    asked.pay(order)
    assert asked.engine.pay_link(link.token).next == "done"


def test_the_token_is_random_and_nowhere_stored(asked):
    (order,) = asked.renewals()
    links = [asked.engine.issue_pay_link(order.ledger_id) for _ in range(3)]
    tokens = {link.token for link in links}
    assert len(tokens) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{22,}", token) for token in tokens)
    assert not any(token in repr(link) for token in tokens for link in links)
    with asked.engine._ports.storage.unit(write=False) as unit:
        stored = [unit.pay_link(hash_token(token)) for token in tokens]
        assert not any(token in repr(row) for token in tokens for row in (*stored, *unit.events(limit=1000)))


def test_an_older_link_goes_on_for_a_week(asked):
    (order,) = asked.renewals()
    first, second = (asked.engine.issue_pay_link(order.ledger_id) for _ in range(2))
    issued = asked.clock.now()
    asked.clock.set(issued + ROTATION - DAY)
    assert asked.engine.pay_link(first.token).ledger_id == order.ledger_id
    asked.clock.set(issued + ROTATION)
    with pytest.raises(NotFound) as gone:
        asked.engine.pay_link(first.token)
    assert gone.value.field == "token"
    assert asked.engine.pay_link(second.token).ledger_id == order.ledger_id
    asked.clock.set(second.expires_at)
    assert second.expires_at == order.deadline + AFTERWARDS
    with pytest.raises(NotFound):
        asked.engine.pay_link(second.token)


def test_a_link_follows_to_what_took_the_orders_place(memory_life):
    life = memory_life
    life.start()
    life.until(life.held().next_charge_at - DAY)
    (order,) = life.renewals()
    link = life.engine.issue_pay_link(order.ledger_id)
    other = life.checkout(wallet=wallet_of("friend"), idempotency_key="x")
    assert life.engine.pay_link(link.token).ledger_id == other.ledger_id
    life.go(60)
    with pytest.raises(NotFound):
        life.engine.pay_link(link.token)


@pytest.mark.parametrize("token", ["", "x", "é" * 22, "a" * 10_000, None, 7, b"bytes"], ids=repr)
def test_what_is_no_token_is_no_link(memory_life, token):
    with pytest.raises(NotFound):
        memory_life.engine.pay_link(token)


def test_only_what_can_be_paid_gets_a_link_and_only_its_owner_asks_for_it(memory_life):
    life = memory_life
    life.start()
    paid = life.engine.orders("u1")[0]
    with pytest.raises(Conflict):
        life.engine.issue_pay_link(paid.ledger_id)
    with pytest.raises(NotFound):
        life.engine.issue_pay_link(paid.ledger_id, user_id="u2")
    with pytest.raises(NotFound):
        life.engine.issue_pay_link("nonsense")
