"""Every preset sells on a real chain, and its second period is paid."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bindings_bench import ALICE, BOB, PRICE, MappedShop

from evmbilling.domain.identity import subscription_token
from evmbilling.errors import InputError, NotFound
from evmbilling.presets import load_preset, preset, preset_names
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import deploy, deploy_checkout
from evmbilling.testing.keys import address_of
from evmbilling.testing.merchant import SIGNER_KEY

MONTH = 30 * 86_400
SOLD = {"checkout", "deposit", "erc20", "erc2612", "erc3009", "erc3009-till", "erc5643", "expiring-key-lock", "permit2"}
"""The presets that are sold below, those that are paid with a signature in ``test_signed_presets``, and ``deposit`` in
``test_deposits_on_anvil``."""


@pytest.fixture
def shop(anvil: AnvilNode):
    made = MappedShop(anvil)
    yield made
    made.close()


def sell_two_periods(shop: MappedShop, *, confirmed: bool) -> list:
    """Sell a month and the next one, to two users each; return Alice's orders."""
    shop.sell()
    orders = []
    for user, account in (("alice", ALICE), ("bob", BOB)):
        if confirmed:
            shop.confirm(user, account)
        shop.fund(account)
    for period in (0, 1):
        for user, account in (("bob", BOB), ("alice", ALICE)):
            offer = shop.checkout(user, account)
            assert offer.order.period == period
            shop.pay(offer, account)
            assert shop.engine.order(offer.ledger_id).status == "confirmed"
        orders.append(offer.order)
    assert shop.balance(shop.treasury) == 4 * PRICE
    (subscription,) = shop.engine.subscriptions("alice")
    assert subscription.paid_periods == 2
    assert shop.engine.access("alice").until - subscription.anchor > timedelta(days=55)
    assert shop.movements() == ["receipt"] * 4
    assert shop.differences() == []
    assert not shop.engine.check_contracts()
    return orders


def test_every_preset_is_sold_here():
    assert set(preset_names()) == SOLD


def test_checkout(shop: MappedShop):
    shop.open()
    contract = deploy_checkout(shop.node, signers=(address_of(SIGNER_KEY),))
    shop.admin.create_contract(slug="theirs", network="local", address=contract.address, **preset("checkout"))
    sell_two_periods(shop, confirmed=False)


def test_plain_transfers(shop: MappedShop):
    shop.open()
    shop.admin.create_contract(slug="theirs", network="local", address=shop.token.address, **preset("erc20"))
    orders = sell_two_periods(shop, confirmed=True)
    assert [(order.rail, order.contract) for order in orders] == [("erc20", shop.token.address)] * 2


def test_memberships_of_erc_5643(shop: MappedShop):
    shop.open()
    passes = deploy(shop.node, "PaidPass", shop.treasury, shop.token.address, PRICE)
    fields = preset("erc5643", duration=MONTH)
    shop.admin.create_contract(
        slug="theirs", network="local", address=passes.address, start_block=passes.block, **fields
    )
    first, second = sell_two_periods(shop, confirmed=True)
    token_id = subscription_token(first.subscription_id)
    assert shop.ask(passes, "expiresAt", token_id) > shop.time().timestamp() + 59 * 86_400
    assert first.call.data == second.call.data  # the same membership is renewed


def test_a_lock_whose_keys_expire(shop: MappedShop):
    lock = deploy(shop.node, "KeyLock", shop.token.address, PRICE, MONTH)
    shop.open(treasury=lock.address)
    shop.admin.create_contract(
        slug="theirs", network="local", address=lock.address, start_block=lock.block, **preset("expiring-key-lock")
    )
    sell_two_periods(shop, confirmed=True)
    key = shop.ask(lock, "keyOf", ALICE.address)
    assert shop.ask(lock, "keyExpirationTimestampFor", key) > shop.time().timestamp() + 59 * 86_400
    # The owner takes what the lock kept: it is the owner's own business.
    shop.act(lock, "withdraw", PRICE)
    shop.settle()
    assert shop.movements() == ["external"] + ["receipt"] * 4
    assert shop.differences() == []


def test_what_a_preset_needs_is_named():
    assert load_preset("erc5643").parameters.keys() == {"duration"}
    for given in ({}, {"duration": 1, "price": 2}):
        with pytest.raises(InputError) as refused:
            preset("erc5643", **given)
        assert refused.value.field == ("price" if given else "duration")
    with pytest.raises(NotFound) as absent:
        preset("erc9999")
    assert "erc5643" in absent.value.message
