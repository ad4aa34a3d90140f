"""Reading ahead changes no answer: a unit that was told what a checkout will ask says what it says anyway."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.identity import Product
from evmbilling.domain.payments.finance import token_subject
from evmbilling.domain.selling.offering import CheckoutRequest
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.errors import StorageError
from evmbilling.testing.conformance.storage import book_records as bb
from evmbilling.testing.conformance.storage import records as b

CATALOGUE = (
    d.SaveNetwork(b.network()),
    d.SaveNetwork(b.network(name="other", chain_id=b.OTHER_CHAIN)),
    d.SaveGateway(b.gateway()),
    d.SaveContract(b.contract()),
    d.SaveContract(b.contract(network="other", chain_id=b.OTHER_CHAIN)),
)

TOKEN = token_subject(b.CHAIN, b.asset().token)

HALTED = bb.queued(1, kind="token_halted", subject=TOKEN)

SUBJECTS = ([TOKEN], [TOKEN, "receipt:1"], ["receipt:1"], [])

WORLDS = {
    "nothing": (),
    "no catalogue": (d.AddPlanVersion(b.plan(version=2, product=Product("seat"))),),
    "a shop": CATALOGUE,
    "a shop that is read": (*CATALOGUE, d.StoreCursor(b.cursor(7)), d.StoreCursor(b.cursor(9, chain_id=b.OTHER_CHAIN))),
    "no gateway": CATALOGUE[:2] + CATALOGUE[3:],
    "no contract there": CATALOGUE[:4],
    "no network": CATALOGUE[2:],
    "newer versions": (*CATALOGUE, *(d.AddPlanVersion(b.plan(version=n, name=f"v{n}")) for n in (2, 10, 9))),
    "archived": (
        *CATALOGUE[2:],
        d.SaveNetwork(b.network(archived_at=b.T0)),
        d.ArchivePlan(b.plan(archived_at=b.at(1))),
    ),
    "no prices": (*CATALOGUE, d.AddPlanVersion(b.plan(version=2, prices=()))),
    "subscribed": (*CATALOGUE, d.OpenSubscription(b.subscription())),
    "subscribed to another": (*CATALOGUE, d.OpenSubscription(b.subscription(product=Product("seat", "7")))),
    "ended": (*CATALOGUE, d.OpenSubscription(b.subscription(status=SubscriptionStatus.ENDED))),
    "another's": (*CATALOGUE, d.OpenSubscription(b.subscription(user_id=b.BOB))),
    "asked before": (*CATALOGUE, d.OpenOrder(b.order()), d.BindKey(b.key_record())),
    "another key": (*CATALOGUE, d.OpenOrder(b.order()), d.BindKey(b.key_record(key="k-2"))),
    "a halted token": (*CATALOGUE, d.StoreQueueItem(HALTED)),
    "another operation": (*CATALOGUE, d.OpenOrder(b.order()), d.BindKey(b.key_record(operation="requote"))),
}

PLAIN = CheckoutRequest(
    plan="pro",
    user_id=b.ALICE,
    wallet=b.WALLET,
    network=None,
    asset=None,
    product=None,
    quantity=1,
    beneficiary=None,
    zone=None,
    start_at=None,
)

REQUESTS = {
    "plain": PLAIN,
    "on a network": attrs.evolve(PLAIN, network="other"),
    "on no network": attrs.evolve(PLAIN, network="nowhere"),
    "of a product": attrs.evolve(PLAIN, product=Product("seat", "7")),
    "of its product": attrs.evolve(PLAIN, product=b.SITE),
    "of no plan": attrs.evolve(PLAIN, plan="absent"),
}


def answers(unit: Any) -> Any:
    """Everything that a checkout may ask a unit, and more."""
    products = (b.SITE, Product("seat"), Product("seat", "7"))
    return {
        "keys": [unit.key(operation, b.ALICE, key) for operation in ("checkout", "requote") for key in ("k-1", "k-2")],
        "plans": [unit.plan(slug, version) for slug in ("pro", "absent") for version in (None, 1, 2, 10)],
        "live": [unit.live_subscription(user, product) for user in (b.ALICE, b.BOB) for product in products],
        "cursors": [unit.cursor(chain) for chain in (b.CHAIN, b.OTHER_CHAIN, 1)],
        "networks": [unit.network(name) for name in ("anvil", "other", "nowhere")],
        "gateways": [unit.gateway(slug) for slug in ("main", "absent")],
        "items": [list(unit.queue_items_of(subjects)) for subjects in SUBJECTS],
        "contracts": [unit.contract(slug, name) for slug in ("checkout", "absent") for name in ("anvil", "other")],
    }


class ReadAheadChecks:
    """Reading ahead changes no answer: a unit that was told what a checkout will ask says what it says anyway."""

    clause = 10

    @pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
    @pytest.mark.sampled(strength=1)
    def test_reading_ahead_changes_no_answer(self, storage: Any, world: Any) -> None:
        if world:
            b.seed(storage, *world)
        with storage.unit() as unit:
            expected = answers(unit)
        for name, request in REQUESTS.items():
            with storage.unit() as unit:
                unit.lock_customer(b.customer())
                unit.read_ahead(operation="checkout", key="k-1", request=request)
                assert answers(unit) == expected, name

    def test_what_was_read_ahead_is_forgotten_at_a_write(self, storage: Any) -> None:
        b.seed(storage, *CATALOGUE)
        changed = b.gateway(version=2, order_ttl=60)
        with storage.unit() as unit:
            unit.read_ahead(operation="checkout", key="k-1", request=PLAIN)
            assert unit.gateway("main") == b.gateway()
            unit.apply(
                [d.SaveGateway(changed), d.AddPlanVersion(b.plan(version=2)), d.OpenSubscription(b.subscription())]
            )
            assert (unit.gateway("main"), unit.plan("pro").version) == (changed, 2)
            assert unit.live_subscription(b.ALICE, b.SITE) == b.subscription()

    def test_what_was_read_ahead_is_not_told_after_the_unit(self, storage: Any) -> None:
        b.seed(storage, *CATALOGUE)
        with storage.unit() as unit:
            unit.read_ahead(operation="checkout", key="k-1", request=PLAIN)
        with pytest.raises(StorageError):
            unit.gateway("main")

    def test_what_is_read_ahead_is_what_is_stored_now(self, storage: Any) -> None:
        b.seed(storage, *CATALOGUE)
        for seconds in (60, 900, 60):
            with storage.unit() as unit:
                held = unit.gateway("main")
                unit.apply([d.SaveGateway(attrs.evolve(held, order_ttl=seconds, version=held.version + 1))])
            with storage.unit() as unit:
                unit.read_ahead(operation="checkout", key="k-1", request=PLAIN)
                assert unit.gateway("main").order_ttl == seconds
