"""``engine.within``: a checkout in the host's transaction, on every driver."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from hosts import KEY_VARIABLE, PAYEE, SIGNING_KEY, Abandon, until_it_works, write_note

from evmbilling import BillingEngine
from evmbilling.domain.actors import SYSTEM
from evmbilling.errors import HostTransactionError, IdempotencyConflict, UnknownPlan


@pytest.fixture(autouse=True)
def signing_key(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, SIGNING_KEY)


@pytest.fixture
def billing(place) -> BillingEngine:
    return BillingEngine(storage=place.storage)


def checkout(billing, target, **over):
    asked = {"plan": "pro", "user_id": "user-1", "wallet": PAYEE, "idempotency_key": "k-1"} | over
    with billing.within(target) as joined:
        return joined.checkout(**asked)


def orders(billing):
    return [order.ledger_id for order in billing.orders("user-1")]


@pytest.mark.parametrize("session", [False, True], ids=["connection", "session"])
def test_an_order_and_a_row_of_the_host_are_committed_together(place, billing, session):
    def body(target):
        write_note(target, 1)
        offer = checkout(billing, target)
        again = checkout(billing, target)
        write_note(target, 2, offer.ledger_id)
        assert again.ledger_id == offer.ledger_id
        return offer.ledger_id

    ledger_id = place.host.transaction(body, session=session)
    assert orders(billing) == [ledger_id]
    assert place.notes() == ["host", ledger_id]
    assert billing.order(ledger_id).payload is not None


@pytest.mark.fault("D25")
@pytest.mark.parametrize("session", [False, True], ids=["connection", "session"])
def test_d25_an_order_that_the_host_rolls_back_was_never_there(place, billing, session):
    def body(target):
        checkout(billing, target)
        write_note(target, 1)
        raise Abandon

    with pytest.raises(Abandon):
        place.host.transaction(body, session=session)
    assert (orders(billing), place.notes()) == ([], [])
    assert list(billing.admin(SYSTEM).events(aggregate="customer:user-1")) == []


def test_after_a_refused_checkout_the_host_commits_its_own(place, billing):
    def body(target):
        write_note(target, 1)
        with pytest.raises(UnknownPlan):
            checkout(billing, target, plan="no-such-plan")
        offer = checkout(billing, target)
        with pytest.raises(IdempotencyConflict):
            checkout(billing, target, quantity=2)
        return offer.ledger_id

    ledger_id = place.host.transaction(body)
    assert (orders(billing), place.notes()) == ([ledger_id], ["host"])


@pytest.mark.fault("D26")
def test_d26_a_checkout_in_autocommit_is_refused(place, billing):
    def body(target):
        with pytest.raises(HostTransactionError):
            checkout(billing, target)

    place.host.transaction(body, isolation="AUTOCOMMIT")
    assert orders(billing) == []


@pytest.mark.fault("D27")
def test_d27_a_checkout_sends_nothing_over_the_network(place, billing, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a network call inside a transaction")

    def body(target):
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "connect", refuse)
            patch.setattr(socket, "getaddrinfo", refuse)
            offer = checkout(billing, target)
            with billing.within(target) as joined:
                return offer.ledger_id, joined.access("user-1").allowed

    ledger_id, allowed = place.host.transaction(body)
    assert (orders(billing), allowed) == ([ledger_id], False)


def test_what_only_the_engine_can_do_is_refused_by_name(place, billing):
    def body(target):
        with billing.within(target) as joined:
            for name in ("pay_instructions", "read_chain", "run_intake", "watch"):
                with pytest.raises(HostTransactionError, match=f"{name} is for the engine itself"):
                    getattr(joined, name)
            assert not hasattr(joined, "no_such_call")
            return joined.access("user-1").allowed

    assert place.host.transaction(body) is False


def test_eight_threads_with_one_key_make_one_order(place, billing):
    def work(number):
        def body(target):
            offer = checkout(billing, target)
            write_note(target, number)
            return offer.ledger_id, offer.order.reference

        return until_it_works(place.host, body)

    with ThreadPoolExecutor(8) as pool:
        offers = set(pool.map(work, range(8)))
    assert len(offers) == 1
    assert orders(billing) == [next(iter(offers))[0]]
    assert len(place.notes()) == 8
