"""Memberships that the contract numbers itself: the first payment tells the number, later ones are found by it."""

from __future__ import annotations

import attrs
import pytest
from bindings_bench import ALICE, BOB, MALLORY, MINTED, PRICE, MappedShop

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.decisions import StoreReceipt, StoreRefund
from evmbilling.domain.identity import token_mark
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.states import ReceiptStatus
from evmbilling.errors import Conflict, InputError
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import Deployed, calldata, deploy
from refund_wallets import prove

OPS = Actor("ops", frozenset({Role.FINANCE_OPS, Role.BILLING_ADMIN}))
MONTH = 30 * 86_400
ZERO = "0x" + "00" * 20
BUY = {
    "method": "purchase",
    "args": ["{amount}", "{beneficiary}", "{zero_address}", "{empty_bytes}"],
    "approve": {"spender": "{contract}", "amount": "{amount}"},
}
EXTEND = BUY | {"method": "extend", "args": ["{amount}", "{token_id}", "{zero_address}", "{empty_bytes}"]}
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


def test_a_renewal_is_found_by_its_key_after_a_reorganisation(anvil: AnvilNode):
    shop = MappedShop(anvil)
    try:
        open_lock(shop)
        shop.pay(shop.checkout())
        second = shop.checkout()
        shop.pay(second)
        assert shop.engine.order(second.ledger_id).status == "confirmed"
        shop.node.reorg(3)
        shop.node.mine()
        shop.settle()
        assert shop.engine.order(second.ledger_id).status == "reversed"
        shop.send(second.payload)
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
        (
            {
                "burn_method": {"method": "withdraw", "args": ["{token_id}"]},
                "renew_method": None,
                "events": [{k: v for k, v in MINTED.items() if k != "token_id"}],
            },
            "burn_method.args",
        ),
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


ENDED = {"event": "CancelKey", "means": "membership_ended", "token_id": "tokenId", "payer": "owner"}
END = {"method": "endKey", "args": ["{token_id}"]}


def open_ending_lock(shop: MappedShop) -> Deployed:
    """A lock whose keys end with refunds; Bob has the first key."""
    lock = deploy(shop.node, "KeyLock", shop.token.address, PRICE, MONTH)
    shop.open(treasury=lock.address)
    shop.bind(lock, mint_method=BUY, renew_method=EXTEND, burn_method=END, events=[MINTED, EXTENDED, ENDED])
    shop.sell()
    shop.node.rpc("anvil_setBalance", lock.address, hex(10**18))
    shop.node.rpc("anvil_impersonateAccount", lock.address)
    for user, account in (("bob", BOB), ("alice", ALICE)):
        shop.confirm(user, account)
        shop.fund(account)
    shop.pay(shop.checkout("bob", BOB), BOB)
    return lock


def give_back(shop: MappedShop, offer: Checkout, lock: Deployed) -> Refund:
    """Give an order of Alice's back by the lock, which is the treasury, and end her membership."""
    desk = shop.engine.refunds(OPS)
    refund = desk.request(ledger_id=offer.ledger_id, end_membership=True, reason="asked")
    prove(shop.engine, refund.refund_id, ALICE)
    shop.send(desk.prepare(refund.refund_id), lock)
    return desk.refund(refund.refund_id)


@pytest.mark.parametrize("periods", [1, 2])
@pytest.mark.parametrize("kept", ["memory", "sqlite"])
def test_a_membership_ends_by_the_number_that_the_contract_gave_it(
    anvil: AnvilNode, open_database, periods: int, kept: str
):
    clock = FrozenClock(MappedShop.when(anvil.block() or {}))
    shop = MappedShop(anvil, storage=open_database(kept, clock) if kept == "sqlite" else None, clock=clock)
    try:
        lock = open_ending_lock(shop)
        for _ in range(periods):
            offer = shop.checkout()
            shop.pay(offer)
        desk = shop.engine.refunds(OPS)
        refund = give_back(shop, offer, lock)
        assert (refund.status, refund.burn.status) == ("done", "due")
        # Somebody else's key ends: that is his own business.
        shop.act(lock, "endKey", shop.ask(lock, "keyOf", BOB.address), sender=BOB.address)
        shop.settle()
        assert desk.refund(refund.refund_id).burn.status == "due"
        burn = desk.prepare_burn(refund.refund_id)
        assert burn.data == calldata("KeyLock", "endKey", shop.ask(lock, "keyOf", ALICE.address))
        assert desk.refund(refund.refund_id) == refund
        shop.send(burn, ALICE)
        assert desk.refund(refund.refund_id).burn.status == "done"
        assert shop.ask(lock, "keyOf", ALICE.address) == 0
        with shop.engine._ports.storage.unit(write=False) as unit:
            told = unit.events(type_="billing.membership.burned.v1")
        assert [event.data["token_id"] for event in told] == ["2"]
        shop.node.reorg(3)
        shop.node.mine()
        shop.settle()
        assert desk.refund(refund.refund_id).burn.status == "due"
        shop.send(burn, ALICE)
        assert desk.refund(refund.refund_id).burn.status == "done"
        assert shop.differences() == []
    finally:
        shop.close()


def test_a_holder_may_end_the_membership_before_the_money_is_back(anvil: AnvilNode):
    shop = MappedShop(anvil)
    try:
        lock = open_ending_lock(shop)
        offer = shop.checkout()
        shop.pay(offer)
        desk = shop.engine.refunds(OPS)
        refund = desk.request(ledger_id=offer.ledger_id, end_membership=True, reason="asked")
        shop.act(lock, "endKey", 2, sender=ALICE.address)
        shop.settle()
        noted = desk.refund(refund.refund_id).burn
        assert (noted.status, noted.evidence is not None) == ("planned", True)
        assert shop.differences() == []
    finally:
        shop.close()


def test_without_a_payment_that_counts_nobody_knows_the_number(anvil: AnvilNode):
    shop = MappedShop(anvil)
    try:
        lock = open_ending_lock(shop)
        offer = shop.checkout()
        shop.pay(offer)
        refund = give_back(shop, offer, lock)
        with shop.engine._ports.storage.unit() as unit:
            stored = unit.refund(refund.refund_id)
            (receipt,) = unit.receipts_of_orders([offer.ledger_id])
            gone = attrs.evolve(receipt, status=ReceiptStatus.REVERSED, version=receipt.version + 1)
            unit.apply([StoreReceipt(gone)])
        assert stored.burn.mark == token_mark(shop.node.chain_id, lock.address, 2)
        with pytest.raises(Conflict, match="number of this membership") as refused:
            shop.engine.refunds(OPS).prepare_burn(refund.refund_id)
        assert refused.value.field == "token_id"
    finally:
        shop.close()


def test_a_number_that_a_reorganisation_gave_to_somebody_else_ends_nothing(anvil: AnvilNode):
    """The mark of a refund may be older than the payments; what they say now decides, and mends it."""
    shop = MappedShop(anvil)
    try:
        lock = open_ending_lock(shop)
        offer = shop.checkout()
        shop.pay(offer)
        desk, refund = shop.engine.refunds(OPS), give_back(shop, offer, lock)
        bobs = token_mark(shop.node.chain_id, lock.address, 1)
        with shop.engine._ports.storage.unit() as unit:
            old = attrs.evolve(refund, burn=attrs.evolve(refund.burn, mark=bobs), version=refund.version + 1)
            unit.apply([StoreRefund(old)])
        shop.act(lock, "endKey", 1, sender=BOB.address)
        shop.settle()
        assert desk.refund(refund.refund_id) == old
        burn = desk.prepare_burn(refund.refund_id)
        assert desk.refund(refund.refund_id).burn == refund.burn
        shop.send(burn, ALICE)
        assert desk.refund(refund.refund_id).burn.status == "done"
        assert shop.differences() == []
    finally:
        shop.close()


ZERO_PASS = {
    "mint_method": {
        "method": "buy",
        "args": ["{treasury}", "{amount}"],
        "approve": {"spender": "{contract}", "amount": "{amount}"},
    },
    "renew_method": {
        "method": "extend",
        "args": ["{token_id}", "{treasury}", "{amount}"],
        "approve": {"spender": "{contract}", "amount": "{amount}"},
    },
    "burn_method": {"method": "end", "args": ["{token_id}"]},
    "events": [
        {
            "event": "Bought",
            "means": "paid",
            "payer": "buyer",
            "match": "payer",
            "token_id": "tokenId",
            "money": "transfer",
        },
        {
            "event": "Extended",
            "means": "renewed",
            "match": "token_id",
            "payer": "buyer",
            "token_id": "tokenId",
            "money": "transfer",
        },
        {"event": "Ended", "means": "membership_ended", "token_id": "tokenId", "payer": "holder"},
    ],
}


def open_passes(shop: MappedShop) -> Deployed:
    passes = deploy(shop.node, "ZeroPass", shop.token.address)
    shop.open()
    shop.bind(passes, **ZERO_PASS)
    shop.sell()
    for user, account in (("alice", ALICE), ("bob", BOB)):
        shop.confirm(user, account)
        shop.fund(account)
    return passes


def test_the_membership_that_is_numbered_zero_starts_renews_and_ends(anvil: AnvilNode):
    shop = MappedShop(anvil)
    try:
        passes = open_passes(shop)
        shop.pay(shop.checkout())
        assert int(shop.ask(passes, "holderOf", 0)) == int(ALICE.address, 16)
        second = shop.checkout()
        shop.pay(second)
        assert shop.engine.order(second.ledger_id).status == "confirmed"
        assert (shop.ask(passes, "sold"), shop.ask(passes, "extendedBy", 0)) == (1, PRICE)
        assert shop.engine.subscriptions("alice")[0].paid_periods == 2
        refund = give_back(shop, second, shop.node.accounts[-1])
        desk = shop.engine.refunds(OPS)
        assert desk.refund(refund.refund_id).burn.status == "due"
        burn = desk.prepare_burn(refund.refund_id)
        assert burn.data == calldata("ZeroPass", "end", 0)
        shop.send(burn, ALICE)
        assert desk.refund(refund.refund_id).burn.status == "done"
        assert shop.differences() == []
    finally:
        shop.close()


def test_a_payment_that_came_twice_does_not_say_which_membership_is_renewed(anvil: AnvilNode):
    """What was paid once too often brought a pass of its own; the one that is renewed is the first."""
    shop = MappedShop(anvil)
    try:
        passes = open_passes(shop)
        shop.pay(shop.checkout("bob", BOB), BOB)
        offer = shop.checkout()
        told = shop.engine.pay_instructions(offer.ledger_id)
        assert told.approval is not None
        shop.act(shop.token, "approve", passes.address, 2 * PRICE, sender=ALICE.address)
        shop.node.send(offer.payload.as_rpc(ALICE.address))
        shop.node.send(offer.payload.as_rpc(ALICE.address))
        shop.settle()
        assert sorted((r.allocation, r.reason) for r in shop.receipts() if r.user_id == "alice") == [
            ("credit", "duplicate"),
            ("order", None),
        ]
        second = shop.checkout()
        assert second.payload.data == calldata("ZeroPass", "extend", 1, shop.treasury, PRICE)
    finally:
        shop.close()


def paid_by_another(shop: MappedShop, offer: Checkout) -> str:
    """Let somebody else pay, and say where the order stands."""
    shop.fund(MALLORY)
    allow = shop.engine.pay_instructions(offer.ledger_id).approval
    assert allow is not None
    shop.send(allow, MALLORY, blocks=1)
    shop.send(offer.payload, MALLORY)
    return str(shop.engine.order(offer.ledger_id).status)


def test_whoever_the_event_names_may_pay_for_a_membership(anvil: AnvilNode):
    shop = MappedShop(anvil)
    try:
        open_passes(shop)
        shop.pay(shop.checkout())
        assert paid_by_another(shop, shop.checkout()) == "confirmed"
        assert shop.differences() == []
    finally:
        shop.close()


def test_where_the_event_names_nobody_the_members_own_wallet_pays(anvil: AnvilNode):
    """Else a contract that says so for nothing would make anybody's transfer beside it the money of a membership."""
    shop = MappedShop(anvil)
    try:
        open_lock(shop)
        shop.pay(shop.checkout())
        assert paid_by_another(shop, shop.checkout()) == "pending"
        assert [(r.allocation, r.reason) for r in shop.receipts()][-1] == ("suspense", "wrong_payer")
        assert shop.differences() == []
    finally:
        shop.close()
