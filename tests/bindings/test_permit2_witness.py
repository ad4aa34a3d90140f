"""A contract that has its buyers sign, for Permit2, what they buy: bound by configuration, with the witness as data."""

from __future__ import annotations

from typing import Any

import pytest
from bindings_bench import ALICE, BOB, MALLORY, PRICE, MappedShop
from eth_account import Account
from eth_account.messages import encode_typed_data

from evmbilling.contracts import artifact
from evmbilling.domain.mandates.mandates import PERMIT2_ADDRESS
from evmbilling.errors import ChallengeRefused, InputError
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import deploy
from evmbilling.testing.keys import sign_typed_data
from evmbilling.testing.merchant import ADMIN

WITNESS = {
    "type": "Purchase(bytes32 order,address vault,string plan,uint64 until)",
    "values": ["{reference}", "{treasury}", "{plan}", "{period_end}"],
}
SIGN: dict[str, Any] = {"scheme": "permit2_witness", "spender": "{contract}", "amount": "{amount}", "witness": WITNESS}
BUY: dict[str, Any] = {
    "method": "buy",
    "args": [
        ["{reference}", "{treasury}", "{plan}", "{period_end}"],
        {"permitted": ["{token}", "{amount}"], "nonce": "{reference}", "deadline": "{deadline}"},
        "{payer}",
        "{permit_signature}",
    ],
    "approve": {"spender": PERMIT2_ADDRESS, "amount": "{amount}"},
    "sign": SIGN,
}
BOUGHT = {"event": "Bought", "means": "paid", "reference": "order", "payer": "buyer", "money": "transfer"}


@pytest.fixture
def shop(anvil: AnvilNode):
    anvil.set_code(PERMIT2_ADDRESS, "0x" + artifact("TransferPermit2").deployed_bytecode.hex())
    made = MappedShop(anvil)
    made.open()
    yield made
    made.close()


def test_what_is_bought_is_in_what_the_payer_signs(shop: MappedShop):
    shop.bind(deploy(shop.node, "WitnessShop"), mint_method=BUY, events=[BOUGHT])
    shop.sell()
    shop.fund(ALICE)
    found = shop.engine.contracts(ADMIN).simulate(
        "theirs", "local", wallet=ALICE.address, token=shop.token.address, amount=PRICE
    )
    assert (found.succeeds, found.pays, found.unchecked) == (True, True, ("own_signature",))
    offer, other = shop.checkout(), shop.checkout("bob", ALICE)
    approval = shop.engine.pay_instructions(offer.ledger_id).approval
    assert approval is not None
    shop.send(approval, blocks=1)
    asked = shop.engine.pay_permit(offer.ledger_id)
    assert asked["primaryType"] == "PermitWitnessTransferFrom"
    assert asked["message"]["witness"] == {
        "order": "0x" + offer.order.reference.hex(),
        "vault": shop.treasury,
        "plan": "pro@1",
        "until": str(int(offer.order.member_until.timestamp())),
    }
    # What we check is what a wallet's own library signs.
    signature = sign_typed_data(ALICE.key, asked)
    signed = Account.sign_message(encode_typed_data(full_message=asked), ALICE.key)
    assert bytes(signed.signature) == signature
    with pytest.raises(ChallengeRefused):
        shop.engine.pay_with_permit(other.ledger_id, signature=signature)
    payload = shop.engine.pay_with_permit(offer.ledger_id, signature=signature)
    # Whoever sends it cannot send the money elsewhere: the vault was signed.
    elsewhere = payload.data.replace(bytes.fromhex(shop.treasury[2:]), bytes.fromhex(BOB.address[2:]))
    assert elsewhere != payload.data
    call = payload.as_rpc(MALLORY.address) | {"data": "0x" + elsewhere.hex()}
    refused = shop.node.send(call)
    shop.node.mine()
    assert (shop.node.receipt(refused) or {})["status"] == "0x0"
    shop.send(payload, MALLORY)
    assert shop.engine.order(offer.ledger_id).status == "confirmed"
    assert (shop.balance(shop.treasury), shop.differences()) == (PRICE, [])


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"witness": None}, "sign.witness"),
        ({"scheme": "permit2_transfer"}, "sign.witness"),
        ({"witness": WITNESS | {"type": "Purchase(bytes32 order"}}, "sign.witness.type"),
        (
            {"witness": WITNESS | {"type": "TokenPermissions(bytes32 a,address b,string c,uint64 d)"}},
            "sign.witness.type",
        ),
        ({"witness": WITNESS | {"type": "P(bytes33 a,address b,string c,uint64 d)"}}, "sign.witness.type"),
        ({"witness": WITNESS | {"type": "P(bytes32 a,address a,string c,uint64 d)"}}, "sign.witness.values"),
        ({"witness": WITNESS | {"values": ["{reference}"]}}, "sign.witness.values"),
        ({"witness": WITNESS | {"values": [["{reference}"], "", "", 1]}}, "sign.witness.values"),
        ({"witness": WITNESS | {"values": ["{plan}", "{plan}", "x", 1]}}, "sign.witness.values[1]"),
        ({"witness": WITNESS | {"values": ["{permit_r}", "{treasury}", "x", 1]}}, "sign.witness.values[0]"),
        ({"witness": {"type": "P(bytes32 a)"}}, "sign.witness"),
    ],
)
def test_a_witness_is_checked_when_it_is_saved(shop: MappedShop, change: dict[str, Any], place: str):
    made = deploy(shop.node, "WitnessShop")
    with pytest.raises(InputError) as refused:
        shop.bind(made, mint_method=BUY | {"sign": SIGN | change}, events=[BOUGHT])
    assert refused.value.field == f"mint_method.{place}"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        # Nothing signs the vault.
        (
            {
                "witness": {
                    "type": "P(bytes32 o,string p,uint64 u)",
                    "values": ["{reference}", "{plan}", "{period_end}"],
                }
            },
            "args[0][1]",
        ),
        ({"scheme": "permit2_transfer", "witness": None}, "args[0][1]"),
        ({"scheme": "erc3009_receive", "witness": None}, "args[0][1]"),
        # The nonce is signed, and the order that the event will name is not.
        (
            {"witness": {"type": "P(address v,string p,uint64 u)", "values": ["{treasury}", "{plan}", "{period_end}"]}},
            "args",
        ),
        # A vault that is the same in every call is signed by nobody either.
        ({"vault": BOB.address}, "args[0][1]"),
        # Who gets the membership is what the payer pays for.
        ({"vault": "{beneficiary}"}, "args[0][1]"),
        # Another spender could use the signature without this contract.
        ({"spender": BOB.address}, "sign.spender"),
        ({"spender": "{treasury}"}, "sign.spender"),
        ({"scheme": "erc3009_transfer", "witness": None, "spender": "{contract}", "vault": "{payer}"}, "sign.spender"),
    ],
)
def test_what_the_payer_does_not_sign_is_not_left_to_whoever_sends_it(
    shop: MappedShop, change: dict[str, Any], place: str
):
    made = deploy(shop.node, "WitnessShop")
    sign = {name: part for name, part in (SIGN | change).items() if name != "vault" and part is not None}
    bought = ["{reference}", change.get("vault", "{treasury}"), "{plan}", "{period_end}"]
    with pytest.raises(InputError) as refused:
        shop.bind(made, mint_method=BUY | {"args": [bought, *BUY["args"][1:]], "sign": sign}, events=[BOUGHT])
    assert refused.value.field == f"mint_method.{place}"


def test_a_constant_vault_is_signed_as_a_constant(shop: MappedShop):
    values = ["{reference}", BOB.address, "{plan}", "{period_end}"]
    sign = SIGN | {"witness": WITNESS | {"values": values}}
    shop.bind(
        deploy(shop.node, "WitnessShop"),
        mint_method=BUY | {"args": [values, *BUY["args"][1:]], "sign": sign},
        events=[BOUGHT],
    )
    shop.sell()
    asked = shop.engine.pay_permit(shop.checkout().ledger_id)
    assert asked["message"]["witness"]["vault"] == BOB.address
