"""Orders of contracts that are bound by configuration are paid on the fake chain, without a node."""

from __future__ import annotations

from typing import Any

import pytest

from evmbilling.contracts import artifact
from evmbilling.domain.addresses import checksum
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.errors import ConfigurationError, InputError
from evmbilling.presets import preset
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.keys import sign_text
from evmbilling.testing.merchant import ADMIN, SimulatedMerchant, plan_fields, simulated_merchant

ADDRESS = checksum(b"theirs".rjust(20, b"\2"))
ALICE = DEV_ACCOUNTS[3]


def bound(shop: SimulatedMerchant, **fields: Any) -> PaymentContract:
    """Bind a contract and sell a plan through it, to a user with a confirmed wallet."""
    admin = shop.engine.admin(ADMIN)
    values = {"slug": "theirs", "network": shop.network, "address": ADDRESS} | fields
    made = admin.create_contract(**values)
    plan = plan_fields(shop, "club", contract_slug="theirs", product="club")
    admin.create_plan(**(plan | {"prices": [price for price in plan["prices"] if price["symbol"] == "tUSD"]}))
    asked = shop.engine.wallet_challenge(
        user_id="ann", wallet=ALICE.address, network=shop.network, domain="shop.example", uri="https://shop.example/"
    )
    shop.engine.confirm_wallet(user_id="ann", nonce=asked.nonce, signature=sign_text(ALICE.key, asked.message))
    return made


def buy(shop: SimulatedMerchant, contract: PaymentContract, key: str, **changes: Any) -> Any:
    offer = shop.checkout("ann", plan="club", wallet=ALICE.address, idempotency_key=key)
    shop.chain.pay_mapped(offer.order, contract, **changes)
    shop.settle()
    return shop.engine.order(offer.ledger_id)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("erc2612", {}),
        ("erc3009", {}),
        ("erc3009-till", {}),
        ("permit2", {}),
        ("erc5643", {"duration": 2_592_000}),
        ("expiring-key-lock", {}),
    ],
)
def test_two_periods_of_every_preset_are_paid(name: str, given: dict[str, int]):
    shop = simulated_merchant()
    itself = {"address": shop.token.token} if name == "erc3009" else {}
    contract = bound(shop, **preset(name, **given), **itself)
    for period in (0, 1):
        order = buy(shop, contract, f"key-{period}")
        assert (order.status, order.order.period) == ("confirmed", period)
    assert shop.engine.subscriptions("ann")[0].paid_periods == 2
    assert not [d for d in shop.engine.verify().differences if d.code != "unproved"]


CLUB: dict[str, Any] = {"kind": "mapped", "abi": list(artifact("ClubPass").abi)}
JOIN = {
    "method": "join((address,uint96,string)[],(address,uint64),uint256,string)",
    "args": [[], ["{treasury}", 0], "{amount}", "x"],
    "approve": {},
}
JOINED = {"event": "Joined", "means": "paid", "payer": "buyer", "match": "payer", "money": "transfer"}


def test_a_contract_with_tuples_and_no_reference_is_paid_short_and_reorganised():
    shop = simulated_merchant()
    contract = bound(shop, **CLUB, mint_method=JOIN, events=[JOINED | {"treasury": "terms.vault"}])
    short = buy(shop, contract, "short", amount=5)
    assert short.status == "partially_paid"
    rest = short.amount - 5
    shop.chain.pay_mapped(short.order, contract, amount=rest, fields={"label": "again", "terms.until": 7})
    shop.settle()
    assert shop.engine.order(short.ledger_id).status == "confirmed"
    shop.chain.reorganise(3)
    shop.settle(1)
    assert shop.engine.order(short.ledger_id).status == "reversed"


@pytest.mark.parametrize(
    ("call", "event"),
    [
        ("tag", {"event": "Tagged(bytes32,uint256,address)", "amount": "amount", "token": {"const": "0x" + "11" * 20}}),
        ("tagText", {"event": "Tagged(string,address,address)", "payer": "buyer", "money": "transfer"}),
    ],
)
def test_an_order_is_named_by_its_reference_or_the_hash_of_it(call: str, event: dict[str, Any]):
    shop = simulated_merchant()
    if "token" in event:
        event = event | {"token": {"const": shop.token.token}}
    method = {"method": call, "args": ["{reference}", "{treasury}", "{amount}"], "approve": {}}
    paid = event | {"means": "paid", "reference": "tag", "treasury": "vault"}
    contract = bound(shop, **CLUB, mint_method=method, events=[paid])
    assert buy(shop, contract, "first").status == "confirmed"


def test_what_the_event_has_no_place_for_is_refused():
    shop = simulated_merchant()
    contract = bound(shop, **CLUB, mint_method=JOIN, events=[JOINED])
    offer = shop.checkout("ann", plan="club", wallet=ALICE.address, idempotency_key="one")
    for wrong in (
        {"price": 1},
        {"terms.price": 1},
        {"terms.until.price": 1},
        {"terms.until": -1},
        {"terms.until": "x"},
    ):
        with pytest.raises(InputError) as refused:
            shop.chain.pay_mapped(offer.order, contract, fields=wrong)
        assert refused.value.field == "fields"
    built_in = next(c for c in shop.engine.admin(ADMIN).contracts() if c.kind == "checkout")
    with pytest.raises(ConfigurationError):
        shop.chain.pay_mapped(offer.order, built_in)
