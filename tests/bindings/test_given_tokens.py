"""Memberships that the contract numbers itself: the first payment tells the number, later ones are found by it."""

from __future__ import annotations

import pytest
from bindings_bench import ALICE, BOB, MALLORY, PRICE, MappedShop

from evmbilling.errors import InputError
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import Deployed, deploy

MONTH = 30 * 86_400
ZERO = "0x" + "00" * 20
BUY = {
    "method": "purchase",
    "args": ["{amount}", "{beneficiary}", "{zero_address}", "{empty_bytes}"],
    "approve": {"spender": "{contract}", "amount": "{amount}"},
}
EXTEND = BUY | {"method": "extend", "args": ["{amount}", "{token_id}", "{zero_address}", "{empty_bytes}"]}
MINTED = {
    "event": "Transfer",
    "means": "paid",
    "match": "payer",
    "money": "transfer",
    "beneficiary": "to",
    "token_id": "tokenId",
    "when": {"from": ZERO},
}
EXTENDED = {"event": "KeyExtended", "means": "renewed", "match": "token_id", "token_id": "tokenId", "money": "transfer"}


def open_lock(shop: MappedShop) -> Deployed:
    lock = deploy(shop.node, "KeyLock", shop.token.address, PRICE, MONTH)
    shop.open(treasury=lock.address)
    shop.bind(lock, mint_method=BUY, renew_method=EXTEND, events=[MINTED, EXTENDED])
    shop.sell()
    for user, account in (("alice", ALICE), ("bob", BOB)):
        shop.confirm(user, account)
        shop.fund(account)
    return lock


def check_two_members(shop: MappedShop) -> None:
    lock = open_lock(shop)
    for period in (0, 1, 2):
        for user, account in (("bob", BOB), ("alice", ALICE)):
            offer = shop.checkout(user, account)
            assert offer.order.period == period
            shop.pay(offer, account)
            assert shop.engine.order(offer.ledger_id).status == "confirmed"
    for user, account in (("bob", BOB), ("alice", ALICE)):
        key = shop.ask(lock, "keyOf", account.address)
        assert shop.ask(lock, "keyExpirationTimestampFor", key) > shop.time().timestamp() + 89 * 86_400
        assert shop.engine.subscriptions(user)[0].paid_periods == 3
    assert shop.ask(lock, "totalSupply") == 2
    assert (shop.movements(), shop.differences()) == (["receipt"] * 6, [])


def test_later_periods_extend_the_key_that_the_first_one_brought(anvil: AnvilNode):
    shop = MappedShop(anvil)
    try:
        check_two_members(shop)
    finally:
        shop.close()


def test_the_numbers_are_found_in_a_database(anvil: AnvilNode, open_database):
    clock = FrozenClock(MappedShop.when(anvil.block() or {}))
    shop = MappedShop(anvil, storage=open_database("sqlite", clock), clock=clock)
    try:
        check_two_members(shop)
    finally:
        shop.close()


def test_a_renewal_is_found_by_its_key_after_a_reorganisation_and_whoever_pays(anvil: AnvilNode):
    shop = MappedShop(anvil)
    try:
        open_lock(shop)
        shop.pay(shop.checkout())
        second = shop.checkout()
        shop.fund(MALLORY)
        allow = shop.engine.pay_instructions(second.ledger_id).approval
        assert allow is not None
        shop.send(allow, MALLORY, blocks=1)
        shop.send(second.payload, MALLORY)
        assert shop.engine.order(second.ledger_id).status == "confirmed"
        shop.node.reorg(3)
        shop.node.mine()
        shop.settle()
        assert shop.engine.order(second.ledger_id).status == "reversed"
        shop.send(second.payload, MALLORY)
        assert shop.engine.order(second.ledger_id).status == "confirmed"
        assert shop.differences() == []
    finally:
        shop.close()


def test_a_key_that_is_nobodys_order_waits_for_a_person(anvil: AnvilNode):
    shop = MappedShop(anvil)
    try:
        lock = open_lock(shop)
        shop.pay(shop.checkout())
        shop.fund(MALLORY)
        shop.act(shop.token, "approve", lock.address, 2 * PRICE, sender=MALLORY.address)
        shop.act(lock, "purchase", PRICE, MALLORY.address, ZERO, b"", sender=MALLORY.address)
        key = shop.ask(lock, "keyOf", MALLORY.address)
        shop.act(lock, "extend", PRICE, key, ZERO, b"", sender=MALLORY.address)
        shop.settle()
        waiting = [r.reason for r in shop.receipts() if r.allocation == "suspense"]
        assert waiting == ["unknown_payer", "no_order"]
        assert shop.differences() == []
    finally:
        shop.close()


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"mint_method": EXTEND, "renew_method": None}, "mint_method.args"),
        ({"burn_method": {"method": "withdraw", "args": ["{token_id}"]}}, "burn_method.args"),
        ({"events": [{k: v for k, v in MINTED.items() if k != "token_id"}, EXTENDED]}, "renew_method.args"),
        ({"renew_method": EXTEND | {"args": ["{amount}", "{token_id}", ZERO, "{reference}"]}}, "renew_method.args"),
    ],
)
def test_a_number_is_for_later_periods_of_what_an_event_has_told(anvil: AnvilNode, fields, place):
    shop = MappedShop(anvil)
    try:
        shop.open()
        lock = deploy(anvil, "KeyLock", shop.token.address, PRICE, MONTH)
        with pytest.raises(InputError) as refused:
            shop.bind(lock, **({"mint_method": BUY, "renew_method": EXTEND, "events": [MINTED, EXTENDED]} | fields))
        assert refused.value.field == place
    finally:
        shop.close()
