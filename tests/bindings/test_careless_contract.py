"""A careless contract that no test was written for before: bound by configuration alone, and attacked by its payers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bindings_bench import ALICE, BOB, MALLORY, MINTED, PRICE, MappedShop
from eth_abi.abi import encode
from eth_hash.auto import keccak
from test_proxies_on_anvil import SLOTS, behind, upgrade

from evmbilling.domain.actors import Actor, Role
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.errors import InputError
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import Deployed, calldata, deploy
from refund_wallets import prove

OPS = Actor("ops", frozenset({Role.FINANCE_OPS, Role.BILLING_ADMIN}))
SEATS = "((string,address,bytes)[],uint256[2][],uint64)[]"
BUNDLES = [
    {
        "seats": [
            {"note": "{plan}", "member": "{beneficiary}", "extra": "{empty_bytes}"},
            ["{{second}", "{zero_address}", "0xc0ffee"],
        ],
        "rows": [[1, "{quantity}"], ["{deadline}", "{subscription}"]],
        "until": "{period_end}",
    },
    [[], [], 0],
]
BUY = {
    "method": f"buy({SEATS},string,address,address,uint256)",
    "args": [BUNDLES, "{reference}", "{token}", "{treasury}", "{amount}"],
    "approve": {"spender": "{contract}"},
}
BUY_WITH_COIN = {
    "method": f"buy({SEATS},string,address,uint256)",
    "args": [BUNDLES, "{reference}", "{treasury}", "{amount}"],
    "value": "{amount}",
}
SOLD = {
    "event": "Sold(string,address,address,address,uint256)",
    "means": "paid",
    "reference": "order",
    "payer": "buyer",
    "token": "coin",
    "treasury": "vault",
    "amount": "kept",
}
SOLD_FOR_COIN = {
    "event": "Sold(string,address,address,uint256)",
    "means": "paid",
    "reference": "order",
    "payer": "buyer",
    "token": {"const": "native"},
    "treasury": "vault",
    "amount": "kept",
}
MINT = {
    "method": "mint",
    "args": ["{beneficiary}", "{token}", "{treasury}", "{amount}"],
    "approve": {"spender": "{contract}"},
}
KEEP = MINT | {"method": "keep", "args": ["{token_id}", "{token}", "{treasury}", "{amount}"]}
KEPT = {
    "event": "Seated",
    "means": "renewed",
    "match": "token_id",
    "token_id": "tokenId",
    "payer": "buyer",
    "amount": "kept",
    "money": "transfer",
}

KEPT_VIEW = {"event": "Seated", "means": "membership_extended", "token_id": "tokenId", "expiry": "kept"}


@pytest.fixture
def shop(anvil: AnvilNode) -> Iterator[MappedShop]:
    made = MappedShop(anvil, token="ShareToken")
    made.open()
    for user, account in (("alice", ALICE), ("bob", BOB), ("mallory", MALLORY)):
        made.confirm(user, account)
        made.fund(account)
    yield made
    made.close()


def sell(shop: MappedShop, *, native: bool = False, **binding: Any) -> Deployed:
    bazaar = deploy(shop.node, "Bazaar")
    fields: dict[str, Any] = {"mint_method": BUY, "events": [SOLD, SOLD_FOR_COIN]}
    shop.bind(bazaar, **(fields | binding))
    shop.sell(native=native)
    for account in (ALICE, BOB, MALLORY):
        shop.act(shop.token, "approve", bazaar.address, 20 * PRICE, sender=account.address)
    return bazaar


def call(shop: MappedShop, bazaar: Deployed, function: str, *arguments: Any, value: int = 0) -> WalletPayload:
    """Make a call that no order asked for; an overload is named by its types."""
    if "(" in function:
        types = function.removeprefix("buy(").removesuffix(")")
        data = keccak(function.encode())[:4] + encode([SEATS, *types.removeprefix(f"{SEATS},").split(",")], arguments)
    else:
        data = calldata("Bazaar", function, *arguments)
    return WalletPayload(chain_id=shop.node.chain_id, to=bazaar.address, value=value, data=data, gas=2_000_000)


def named(offer: Any) -> str:
    return "0x" + offer.order.reference.hex()


def status(shop: MappedShop, offer: Any) -> str:
    return str(shop.engine.order(offer.ledger_id).status)


def places(shop: MappedShop) -> list[tuple[str, str | None, int]]:
    return [(r.allocation, r.reason, r.amount) for r in shop.receipts()]


def give_back(shop: MappedShop, offer: Any) -> None:
    desk = shop.engine.refunds(OPS)
    refund = desk.request(ledger_id=offer.ledger_id, reason="asked")
    prove(shop.engine, refund.refund_id, ALICE)
    shop.send(desk.prepare(refund.refund_id), shop.node.accounts[-1])
    assert desk.refund(refund.refund_id).status == "done"


@pytest.mark.parametrize("native", [False, True], ids=["token", "coin"])
def test_it_sells_renews_follows_the_chain_and_gives_back(shop: MappedShop, native: bool):
    sell(shop, native=native, mint_method=BUY_WITH_COIN if native else BUY)
    first = shop.checkout()
    shop.pay(first)
    assert status(shop, first) == "confirmed"
    shop.node.reorg(3)
    shop.node.mine()
    shop.settle()
    assert (status(shop, first), shop.engine.access("alice").allowed) == ("reversed", False)
    shop.send(first.payload)
    second = shop.checkout()
    shop.pay(second)
    assert (status(shop, first), status(shop, second)) == ("confirmed", "confirmed")
    assert shop.engine.subscriptions("alice")[0].paid_periods == 2
    if not native:
        give_back(shop, second)
    assert shop.differences() == []


def test_a_dry_run_reads_what_it_would_emit(shop: MappedShop):
    sell(shop)
    found = shop.engine.contracts(OPS).simulate(
        "theirs", "local", wallet=ALICE.address, token=shop.token.address, amount=PRICE
    )
    assert (found.succeeds, found.pays) == (True, True)
    assert [event.means for event in found.events if event.means] == ["paid"]


def test_what_the_contract_thinks_of_a_membership_is_shown_and_moves_nothing(shop: MappedShop):
    seated = {"event": "Transfer", "token_id": "tokenId", "beneficiary": "to", "when": {"from": ZERO_ADDRESS}}
    started, extended = seated | {"means": "membership_started"}, KEPT_VIEW
    bazaar = sell(shop, events=[SOLD, started, extended])
    found = shop.engine.contracts(OPS).simulate(
        "theirs", "local", wallet=ALICE.address, token=shop.token.address, amount=PRICE
    )
    assert [e.means for e in found.events if e.means] == ["membership_started"] * 2 + ["paid"]
    assert found.pays
    shop.send(call(shop, bazaar, "mint", ALICE.address, shop.token.address, shop.treasury, 0))
    shop.send(call(shop, bazaar, "keep", 2**256 - 1, shop.token.address, shop.treasury, 0))
    assert (shop.engine.access("alice").allowed, shop.engine.subscriptions("alice")) == (False, [])
    offer = shop.checkout()
    shop.pay(offer)
    assert places(shop) == [("order", None, PRICE)]
    assert shop.engine.subscriptions("alice")[0].paid_periods == 1
    assert shop.differences() == []


def test_what_is_sent_above_the_price_comes_back_and_is_not_credited(shop: MappedShop):
    bazaar = sell(shop, native=True, mint_method=BUY_WITH_COIN)
    offer = shop.checkout()
    half = offer.amount // 2
    args = ([], named(offer), shop.treasury, half)
    shop.send(call(shop, bazaar, BUY_WITH_COIN["method"], *args, value=offer.amount))
    assert status(shop, offer) == "partially_paid"
    assert [amount for _, _, amount in places(shop)] == [half]


@pytest.mark.parametrize("money", ["event", "transfer"])
@pytest.mark.parametrize("by", ["reference", "payer"])
def test_a_coin_that_nobody_sent_is_nobodys_credit(shop: MappedShop, by: str, money: str):
    """The contract moves no token where there is none, and says so all the same; it is sold through for tokens only."""
    told = {name: part for name, part in SOLD.items() if by == "reference" or name != "reference"}
    bazaar = sell(shop, events=[told | {"match": by, "money": money}])

    def pretend(order: str) -> None:
        args = ([], order, ZERO_ADDRESS, shop.treasury, 10**24)
        shop.send(call(shop, bazaar, BUY["method"], *args), MALLORY)

    pretend("0x" + "77" * 32)
    offer = shop.checkout("mallory", MALLORY)
    pretend(named(offer))
    assert status(shop, offer) == "pending"
    shop.pay(offer, MALLORY)
    pretend(named(offer))
    assert status(shop, offer) == "confirmed"
    assert [(place, amount) for place, _, amount in places(shop) if place != "suspense"] == [("order", PRICE)]
    # Where the transfer has to say what came, the event alone is no receipt at all.
    assert any(place == "suspense" for place, _, _ in places(shop)) is (money == "event")
    assert shop.differences() == []


def test_a_payment_that_is_told_twice_is_not_credited_twice(shop: MappedShop):
    bazaar = sell(shop)
    offer = shop.checkout()
    shop.send(call(shop, bazaar, "buyTold", named(offer), shop.token.address, shop.treasury, PRICE, 2))
    assert status(shop, offer) == "pending"
    assert places(shop) == [("suspense", "ambiguous_money", PRICE)]
    assert shop.differences() == []


@pytest.mark.parametrize("by", ["reference", "payer"])
def test_a_coin_that_is_told_twice_is_credited_once(shop: MappedShop, by: str):
    """The coin leaves no transfer that would show how often it came."""
    told = {name: part for name, part in SOLD.items() if by == "reference" or name != "reference"}
    args = ["{reference}", "{zero_address}", "{treasury}", "{amount}"]
    twice = {"method": "buyTold", "args": [*args, 2], "value": "{amount}"}
    sell(shop, native=True, mint_method=twice, events=[told | {"match": by}])
    offer = shop.checkout()
    desk = shop.engine.contracts(OPS)
    found = desk.simulate("theirs", "local", wallet=ALICE.address, token="native", amount=offer.amount)
    assert (found.succeeds, found.pays) == (True, False)
    shop.pay(offer)
    assert status(shop, offer) == "confirmed"
    assert sorted(places(shop)) == [("order", None, offer.amount), ("suspense", "ambiguous_money", offer.amount)]
    shop.node.reorg(3)
    shop.node.mine()
    shop.settle()
    assert status(shop, offer) == "reversed"
    shop.send(offer.payload)
    assert status(shop, offer) == "confirmed"
    assert [place for place, _, _ in places(shop)].count("credit") == 0
    assert shop.differences() == []


def test_what_a_bundler_pays_for_two_customers_is_nobodys_without_a_person(shop: MappedShop):
    """Their own calls in one transaction, with the money of whoever bundles them: that is neither customer's wallet."""
    bazaar = sell(shop)
    offers = [shop.checkout(), shop.checkout("bob", BOB)]
    shop.act(shop.token, "mint", bazaar.address, 5 * PRICE)
    calls = [offer.payload.data for offer in offers]
    shop.send(call(shop, bazaar, "bundle", [bazaar.address] * 2, calls), MALLORY)
    assert places(shop) == [("suspense", "wrong_payer", PRICE)] * 2
    assert [status(shop, offer) for offer in offers] == ["pending", "pending"]
    for offer, account in zip(offers, (ALICE, BOB), strict=True):
        shop.pay(offer, account)
        assert status(shop, offer) == "confirmed"
    assert shop.differences() == []


def test_the_price_is_what_arrives_after_an_honest_fee(shop: MappedShop):
    sell(shop)
    shop.act(shop.token, "setFee", 100)
    offer = shop.checkout()
    shop.pay(offer)
    assert status(shop, offer) == "partially_paid"
    assert places(shop) == [("order", None, PRICE - PRICE // 100)]
    assert shop.differences() == []


def test_a_rebase_is_named_and_pays_nobody(shop: MappedShop):
    sell(shop)
    offer = shop.checkout()
    shop.pay(offer)
    shop.act(shop.token, "rebase", shop.treasury, 110)
    shop.settle()
    assert places(shop) == [("order", None, PRICE)]
    assert [d.code for d in shop.differences()] == ["unexplained_delta"]


def test_a_seat_that_only_a_transfer_numbers_is_renewed(shop: MappedShop):
    bazaar = sell(shop, mint_method=MINT, renew_method=KEEP, events=[MINTED, KEPT])
    first = shop.checkout()
    shop.pay(first)
    assert status(shop, first) == "confirmed"
    second = shop.checkout()
    assert second.payload.data == calldata("Bazaar", "keep", 2**256 - 1, shop.token.address, shop.treasury, PRICE)
    shop.pay(second)
    assert status(shop, second) == "confirmed"
    # A seat for which nothing was paid pays no order, and neither does a period of somebody else's seat.
    offer = shop.checkout("mallory", MALLORY)
    shop.send(call(shop, bazaar, "mint", MALLORY.address, shop.token.address, shop.treasury, 0), MALLORY)
    shop.send(call(shop, bazaar, "keep", 2**256 - 1, shop.token.address, shop.treasury, PRICE), MALLORY)
    assert status(shop, offer) == "pending"
    shop.pay(offer, MALLORY)
    assert status(shop, offer) == "confirmed"
    assert shop.differences() == []


def test_an_upgrade_after_the_checkout_is_not_believed_once_it_was_seen(shop: MappedShop):
    honest = deploy(shop.node, "Bazaar")
    proxy = behind(shop, SLOTS["erc1967"], honest)
    shop.bind(proxy, mint_method=BUY, events=[SOLD])
    shop.sell()
    shop.act(shop.token, "approve", proxy.address, 20 * PRICE, sender=ALICE.address)
    offer = shop.checkout()
    upgrade(shop, proxy, deploy(shop.node, "PullPass", shop.token.address))
    assert len(shop.engine.check_contracts()) == 1
    upgrade(shop, proxy, honest)
    shop.send(offer.payload)
    assert places(shop) == [("suspense", "contract_halted", PRICE)]
    assert status(shop, offer) == "pending"
    assert shop.differences() == []


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"mint_method": BUY | {"method": "buy"}}, "mint_method.method"),
        ({"events": [SOLD | {"event": "Sold"}]}, "events[0].event"),
        ({"events": [SOLD_FOR_COIN, SOLD | {"reference": "buyer"}]}, "events[1].reference"),
        ({"events": [MINTED | {"token_id": "from"}]}, "events[0].token_id"),
        ({"events": [MINTED | {"when": {"from": "nobody"}}]}, "events[0].when.from"),
        ({"mint_method": BUY | {"args": [BUNDLES, "monthly", *BUY["args"][2:]]}}, "mint_method.args"),
        (
            {"mint_method": BUY | {"args": [[[[["", "{plan}", "0x"]], [], 0]], *BUY["args"][1:]]}},
            "mint_method.args[0][0][0][0][1]",
        ),
        ({"mint_method": BUY | {"args": [[[[], [[1, 2, 3]], 0]], *BUY["args"][1:]]}}, "mint_method.args[0][0][1][0]"),
        ({"mint_method": BUY | {"args": [[[[], [], 2**64]], *BUY["args"][1:]]}}, "mint_method.args[0][0][2]"),
        ({"mint_method": BUY | {"value": "{amount}"}}, "mint_method.value"),
        ({"mint_method": BUY | {"approve": {"spender": "{payer}"}}}, "mint_method.approve.spender"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(shop: MappedShop, fields: dict[str, Any], place: str):
    bazaar = deploy(shop.node, "Bazaar")
    with pytest.raises(InputError) as refused:
        shop.bind(bazaar, **({"mint_method": BUY, "events": [SOLD]} | fields))
    assert refused.value.field == place
