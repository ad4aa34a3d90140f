"""Deposit addresses where the chain is simulated: the rules of looking, on every database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from itertools import pairwise
from typing import Any

import attrs
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from evmbilling import BillingEngine
from evmbilling.adapters.evm.provider import EvmSeller
from evmbilling.domain.actors import Actor
from evmbilling.domain.addresses import checksum
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.selling.deposits import (
    LOOK_AFTERWARDS,
    LOOK_AT_SWEEP,
    LOOK_LATEST,
    LOOK_SOONEST,
    Deposit,
    Sight,
    look,
    next_look,
    put_off,
)
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.sending.transmissions import Transmission
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.errors import ConfigurationError, RpcUnavailable, UnknownNetwork
from evmbilling.integrations.flask import FlaskBilling
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.merchant import ADMIN, SimulatedMerchant, plan_fields, simulated_merchant
from evmbilling.working.steps import chosen
from sampling import examples

SWEEPER = checksum(b"deposits".rjust(20, b"\2"))
STRANGER = checksum(b"exchange".rjust(20, b"\3"))
RELAYER = DEV_ACCOUNTS[1]


def by_address(shop: SimulatedMerchant) -> SimulatedMerchant:
    """Bind a Deposits contract, and sell a plan and a pack through it."""
    admin = shop.engine.admin(ADMIN)
    admin.update_gateway("main", version=1, relayer=RELAYER.key)
    admin.create_contract(slug="sweeper", network=shop.network, address=SWEEPER, kind="deposit", start_block=1)
    for slug, changes in (("sent", {}), ("once", {"interval": "none", "product": "book"})):
        fields = plan_fields(shop, slug, contract_slug="sweeper", **changes)
        admin.create_plan(**fields | {"prices": fields["prices"][:1]})
    return shop


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def shop(request: Any, open_database: Any) -> Iterator[SimulatedMerchant]:
    storage = None if request.param == "memory" else open_database(request.param, None)
    made = by_address(simulated_merchant(storage=storage))
    yield made
    made.engine.close()


@pytest.fixture
def memory_shop() -> SimulatedMerchant:
    return by_address(simulated_merchant())


def offer_to(shop: SimulatedMerchant, user: str = "ann", **changes: Any) -> Checkout:
    return shop.engine.checkout(**({"plan": "sent", "user_id": user, "idempotency_key": f"{user}-1"} | changes))


def send(shop: SimulatedMerchant, offer: Checkout, amount: int | None = None) -> None:
    shop.chain.transfer(shop.token.token, STRANGER, offer.address or "", amount or offer.amount)
    shop.chain.mine()


def work(shop: SimulatedMerchant, **span: float) -> None:
    """Let time pass, look, sweep, and mine as deep as it must be to count."""
    shop.clock.advance(timedelta(**span))
    shop.drain()
    shop.settle()


def test_no_address_is_sold_that_its_provider_could_never_sweep() -> None:
    shop = simulated_merchant()
    seller = EvmSeller(signer_for=_nobody, reveal=_nobody, sources=lambda _: shop.chain)
    engine = BillingEngine(
        storage=shop.engine._ports.storage, clock=shop.clock, providers={"evm": seller}, clock_tolerance=None
    )
    with pytest.raises(ConfigurationError, match="this payment provider has no deposit addresses"):
        engine.admin(ADMIN).create_contract(
            slug="sweeper", network=shop.network, address=SWEEPER, kind="deposit", start_block=1
        )
    assert [contract.kind for contract in engine.admin(ADMIN).contracts()] == ["checkout"]


def _nobody(_: object) -> Any:
    raise AssertionError("nothing is signed or revealed here")


def test_an_order_is_paid_at_its_address(shop: SimulatedMerchant) -> None:
    offer = offer_to(shop)
    again = offer_to(shop)
    assert (again.ledger_id, again.address, again.payload) == (offer.ledger_id, offer.address, offer.payload)
    send(shop, offer)
    work(shop, minutes=2)
    assert shop.engine.order(offer.ledger_id).status in {"confirmed", "final"}
    assert shop.engine.access("ann").allowed
    assert [d for d in shop.engine.verify().differences if d.code != "unproved"] == []


def test_a_look_takes_what_is_due_the_oldest_first_and_no_more(memory_shop: SimulatedMerchant) -> None:
    shop = memory_shop
    offers = [offer_to(shop, f"user-{n}", plan="once") for n in range(5)]
    shop.clock.advance(timedelta(seconds=5))
    assert shop.engine.look_at_deposits().looked == 0  # nothing can have come yet
    shop.clock.advance(timedelta(seconds=6))
    assert shop.engine.look_at_deposits(limit=3).looked == 3
    assert shop.engine.look_at_deposits(limit=3).looked == 2
    assert shop.engine.look_at_deposits().looked == 0
    send(shop, offers[4])
    shop.clock.advance(timedelta(seconds=11))
    report = shop.engine.look_at_deposits(network=shop.network)
    assert (report.looked, report.held, report.ordered, report.left) == (5, 1, 1, 0)
    with pytest.raises(UnknownNetwork):
        shop.engine.look_at_deposits(network="nowhere")


def test_a_halted_network_is_not_swept(memory_shop: SimulatedMerchant) -> None:
    shop = memory_shop
    offer = offer_to(shop)
    send(shop, offer)
    shop.settle(40)
    shop.chain.reorganise(35)
    shop.drain()
    shop.clock.advance(timedelta(seconds=60))
    assert shop.engine.look_at_deposits().looked == 0


def test_a_dead_node_delays_its_own_network_and_loses_nothing(memory_shop: SimulatedMerchant) -> None:
    shop = memory_shop
    offer = offer_to(shop)
    send(shop, offer)
    shop.clock.advance(timedelta(seconds=60))
    shop.chain.fail(1)
    with pytest.raises(RpcUnavailable):
        shop.engine.look_at_deposits()
    assert shop.engine.look_at_deposits().ordered == 1


def test_a_sweep_that_fails_is_tried_again_later_each_time(memory_shop: SimulatedMerchant) -> None:
    shop = memory_shop
    offer = offer_to(shop)
    send(shop, offer)
    shop.chain.rules.denied.add((shop.token.token, shop.treasury))
    pauses = []
    for _ in range(6):
        while not shop.engine.look_at_deposits().ordered:
            shop.clock.advance(timedelta(seconds=5))
        pauses.append(shop.clock.now())
        shop.clock.advance(timedelta(seconds=1))
        shop.engine.relay()
    steps = [later - earlier for earlier, later in pairwise(pauses)]
    assert steps == sorted(steps)
    assert steps[-1] >= timedelta(minutes=4)
    failed = shop.engine.sending(ADMIN).transmissions(states=["failed"])
    assert {t.failure_reason for t in failed} == {"reverts"}
    assert {t.nonce for t in failed} == {None}
    shop.chain.rules.denied.clear()
    work(shop, hours=1)
    assert shop.engine.access("ann").allowed


def test_addresses_of_plain_transfers_and_deposits_do_not_mix(memory_shop: SimulatedMerchant) -> None:
    """A confirmed wallet that sends to the treasury pays plain orders, never one that has an address of its own."""
    shop = memory_shop
    offer = offer_to(shop, wallet=STRANGER)
    shop.chain.transfer(shop.token.token, STRANGER, shop.treasury, offer.amount)
    work(shop, minutes=2)
    assert shop.engine.order(offer.ledger_id).status == "pending"
    (waiting,) = shop.engine.finance(ADMIN).queue()
    assert waiting.reason == "unknown_payer"


@cache
def known() -> tuple[Order, Transmission]:
    """An order that is paid at its address, and its first sweep."""
    shop = by_address(simulated_merchant())
    offer = offer_to(shop)
    send(shop, offer)
    shop.clock.advance(timedelta(seconds=11))
    shop.engine.look_at_deposits()
    return offer.order, shop.engine.sending(ADMIN).transmissions()[0]


@settings(max_examples=examples(100), deadline=None)
@given(
    held=st.integers(0, 10**6) | st.integers(0, 2**256 - 1),
    before=st.tuples(st.integers(0, 5), st.none() | st.sampled_from(list(T))),
    dust=st.integers(0, 10**6),
    received=st.integers(0, 2) | st.integers(19_000_000, 20_000_000),
    span=st.tuples(st.integers(0, 90 * 86_400), st.integers(0, 60 * 86_400)),
)
def test_a_look_orders_a_sweep_exactly_when_money_waits_that_nothing_will_take(
    held: int, before: tuple[int, T | None], dust: int, received: int, span: tuple[int, int]
) -> None:
    (order, sent), (age, watch), (failures, status) = known(), span, before
    now = order.created_at + timedelta(seconds=age)
    policy = MisfitPolicy(dust_below=((order.asset.symbol, dust),), late_watch=watch)
    until = order.late_after + timedelta(seconds=watch)
    deposit = Deposit(
        ledger_id="x", chain_id=1, address="", watched_until=until, next_at=now, failures=failures, sweeps=failures
    )
    newest = None if status is None else attrs.evolve(sent, status=status)
    after, sweeps = look(deposit, order, Sight(held=held, received=received, newest=newest), policy=policy, now=now)
    on_its_way = status in {T.QUEUED, T.SIGNED, T.SUBMITTED, T.UNKNOWN}
    completes = 0 < order.amount - received <= held
    worth_it = completes or (held >= order.amount / 100 and held >= dust)
    assert sweeps is (held > 0 and worth_it and not on_its_way)
    assert (after.held, after.sweeps, after.version) == (held, failures + sweeps, 2)
    assert (after.seen_at is None) is (held == 0)
    assert after.failures <= failures + 1
    assert after.failures == 0 or held
    watched = now < until
    busy = sweeps or (held > 0 and on_its_way)
    assert (after.next_at is not None) is (watched or busy)
    if after.next_at is not None:
        assert LOOK_SOONEST <= after.next_at - now <= max(LOOK_AFTERWARDS, timedelta(hours=6))


def test_open_orders_are_looked_at_often_and_old_ones_seldom() -> None:
    order, _ = known()
    deposit = Deposit(
        ledger_id="x", chain_id=1, address="", watched_until=order.late_after + LOOK_AFTERWARDS, next_at=None
    )

    def pause(after: timedelta) -> timedelta | None:
        now = order.created_at + after
        at = next_look(deposit, order, now)
        return None if at is None else at - now

    assert pause(timedelta()) == LOOK_SOONEST
    assert pause(timedelta(minutes=16)) == timedelta(seconds=30)
    assert pause(timedelta(minutes=85)) <= LOOK_LATEST
    assert pause(order.late_after - order.created_at + timedelta(seconds=1)) == LOOK_AFTERWARDS
    assert pause(order.late_after - order.created_at + LOOK_AFTERWARDS) is None
    put = put_off(deposit, order, 5, order.created_at)
    assert (put.held, put.failures, put.next_at) == (5, 1, order.created_at + 2 * LOOK_AT_SWEEP)


def test_a_worker_looks_until_nothing_is_due(memory_shop: SimulatedMerchant) -> None:
    shop = memory_shop
    for number in range(7):
        offer_to(shop, f"user-{number}", plan="once")
    shop.clock.advance(timedelta(seconds=11))
    (step,) = chosen(shop.engine, ["deposits"])
    (call,) = step.calls
    done = []
    while (did := attrs.evolve(call, arguments={"limit": 3}).run(shop.engine, None)).more:
        done.append(did.count)
    assert done == [3, 3, 1]


def test_what_the_token_does_not_tell_is_asked_again_later(memory_shop: SimulatedMerchant, monkeypatch: Any) -> None:
    shop = memory_shop
    offer = offer_to(shop)
    send(shop, offer)
    shop.clock.advance(timedelta(seconds=11))
    monkeypatch.setattr(type(shop.chain), "balances_now", lambda _, places: [None] * len(places))
    report = shop.engine.look_at_deposits()
    assert (report.looked, report.unread, report.held, report.ordered) == (1, 1, 0, 0)
    assert shop.engine.deposits(ADMIN).deposit(offer.ledger_id).failures == 1
    monkeypatch.undo()
    work(shop, minutes=2)
    assert shop.engine.access("ann").allowed


def test_over_http_an_order_has_an_address_and_no_wallet(memory_shop: SimulatedMerchant) -> None:
    shop, sign_in = memory_shop, {"X-User": "ann"}
    billing = FlaskBilling(shop.engine, identity=lambda request: Actor(request.headers["X-User"]))
    app = Flask("shop")
    billing.init_app(app)
    client, base = app.test_client(), "/v1/billing"
    made = client.post(f"{base}/checkout", json={"plan": "sent"}, headers={"Idempotency-Key": "k", **sign_in})
    assert made.status_code == 201
    offer = made.get_json()
    assert offer["address"] in offer["uri"]
    assert (offer["challenge"], offer["approval"], offer["problems"]) == (None, None, [])
    refused = client.post(f"{base}/checkout", json={"plan": "pro"}, headers={"Idempotency-Key": "l", **sign_in})
    assert (refused.status_code, refused.get_json()["field"]) == (422, "wallet")
    shop.chain.transfer(shop.token.token, STRANGER, offer["address"], 5_000_000)
    shop.chain.mine()
    shop.clock.advance(timedelta(seconds=11))
    shop.engine.look_at_deposits()
    seen = client.get(f"{base}/checkout/{offer['ledger_id']}", headers=sign_in).get_json()
    assert (seen["address"], seen["seen"], seen["received"]) == (offer["address"], "5000000", "0")
    (line,) = client.get(f"{base}/history", headers=sign_in).get_json()["orders"]
    assert line["wallet"] is None
