"""Presets that are paid with a signature sell on a real chain, and their second period is paid."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from bindings_bench import ALICE, BOB, MALLORY, PRICE, MappedShop

from evmbilling.adapters.evm.bindings import dry_run
from evmbilling.adapters.evm.tokens import lending
from evmbilling.contracts import artifact
from evmbilling.domain.actors import Actor
from evmbilling.domain.mandates.mandates import PERMIT2_ADDRESS
from evmbilling.domain.selling.offers import Checkout, WalletPayload
from evmbilling.errors import ChainMismatch, ChallengeRefused, Conflict, InputError
from evmbilling.integrations.http.api import HttpApi
from evmbilling.integrations.http.messages import Request
from evmbilling.integrations.http.options import Options
from evmbilling.ports.storage import Storage
from evmbilling.presets import load_preset, preset
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.deploy import Deployed, calldata, deploy
from evmbilling.testing.keys import sign_typed_data
from evmbilling.testing.merchant import ADMIN

SIGNED_ALONE = {"erc3009", "permit2"}
PRESETS = ["erc2612", "erc3009", "erc3009-till", "permit2"]
SCHEMES = {
    "erc2612": "Permit",
    "erc3009": "TransferWithAuthorization",
    "erc3009-till": "ReceiveWithAuthorization",
    "permit2": "PermitTransferFrom",
}


def open_shop(
    node: AnvilNode,
    name: str,
    *,
    token: str = "AuthorizedToken",
    storage: Storage | None = None,
    clock: FrozenClock | None = None,
) -> MappedShop:
    """A shop that sells a month through a preset; Alice holds tokens and has confirmed no wallet."""
    shop = MappedShop(node, token=token, storage=storage, clock=clock)
    shop.open()
    if name == "permit2":
        node.set_code(PERMIT2_ADDRESS, "0x" + artifact("TransferPermit2").deployed_bytecode.hex())
    bound = shop.token if name == "erc3009" else deploy(node, "Till", shop.treasury)
    shop.admin.create_contract(
        slug="theirs", network="local", address=bound.address, start_block=bound.block, **preset(name)
    )
    shop.sell()
    shop.fund(ALICE)
    return shop


def allow_permit2(shop: MappedShop, offer: Checkout) -> None:
    """Send the approval that the instructions ask for, where there is one and nothing to send after it."""
    told = shop.engine.pay_instructions(offer.ledger_id)
    if told.payload is None and told.approval is not None:
        assert [problem.code for problem in told.problems] == ["allowance"]
        shop.send(told.approval, blocks=1)
        told = shop.engine.pay_instructions(offer.ledger_id)
    if told.payload is None:
        assert (told.approval, told.problems) == (None, ())


def signed(shop: MappedShop, offer: Checkout) -> WalletPayload:
    allow_permit2(shop, offer)
    asked = shop.engine.pay_permit(offer.ledger_id, user_id="alice")
    signature = sign_typed_data(ALICE.key, asked)
    return shop.engine.pay_with_permit(offer.ledger_id, signature=signature, user_id="alice")


@pytest.mark.parametrize("name", PRESETS)
def test_two_periods_are_paid_with_a_signature(anvil: AnvilNode, name: str):
    shop = open_shop(anvil, name)
    try:
        # A permit names no order, so its own wallet sends it; what names the order, anybody may send.
        sender = ALICE if name == "erc2612" else BOB
        for period in (0, 1):
            offer = shop.checkout()
            assert (offer.order.period, offer.next) == (period, "pay")
            assert (offer.payload is None) is (name in SIGNED_ALONE)
            allow_permit2(shop, offer)
            asked = shop.engine.pay_permit(offer.ledger_id)
            assert asked["primaryType"] == SCHEMES[name]
            if name == "permit2":
                assert asked["domain"] == {
                    "name": "Permit2",
                    "chainId": shop.node.chain_id,
                    "verifyingContract": PERMIT2_ADDRESS,
                }
                assert asked["message"]["nonce"] == str(int.from_bytes(offer.reference, "big"))
            else:
                assert (asked["domain"]["verifyingContract"], asked["domain"]["version"]) == (shop.token.address, "2")
            if name.startswith("erc3009"):
                assert asked["message"]["nonce"] == "0x" + offer.reference.hex()
            shop.send(signed(shop, offer), sender)
            assert shop.engine.order(offer.ledger_id).status == "confirmed"
        (subscription,) = shop.engine.subscriptions("alice")
        assert subscription.paid_periods == 2
        assert shop.engine.access("alice").allowed
        assert shop.balance(shop.treasury) == 2 * PRICE
        assert {receipt.payer for receipt in shop.receipts()} == {ALICE.address}
        assert (shop.movements(), shop.differences()) == (["receipt", "receipt"], [])
        assert not shop.engine.check_contracts()
    finally:
        shop.close()


@pytest.mark.parametrize("name", PRESETS)
def test_a_reorganised_payment_is_sent_again_as_it_was_signed(anvil: AnvilNode, name: str):
    shop = open_shop(anvil, name)
    try:
        offer = shop.checkout()
        payload = signed(shop, offer)
        shop.send(payload)
        shop.node.reorg(3)
        shop.node.mine()
        shop.settle()
        assert shop.engine.order(offer.ledger_id).status == "reversed"
        assert not shop.engine.access("alice").allowed
        shop.send(payload)
        assert shop.engine.order(offer.ledger_id).status == "confirmed"
        assert (shop.movements(), shop.differences()) == (["receipt"], [])
        assert shop.balance(shop.treasury) == PRICE
    finally:
        shop.close()


@pytest.mark.parametrize("name", PRESETS)
def test_only_the_wallets_own_signature_of_this_order_goes_in(anvil: AnvilNode, name: str):
    shop = open_shop(anvil, name)
    try:
        offer, other = shop.checkout(), shop.checkout("bob", BOB)
        asked = shop.engine.pay_permit(offer.ledger_id)
        amount = {"value": str(2 * PRICE)}
        if name == "permit2":
            amount = {"permitted": {"token": shop.token.address, "amount": str(2 * PRICE)}}
        more = asked | {"message": asked["message"] | amount}
        right = sign_typed_data(ALICE.key, asked)
        for wrong in (sign_typed_data(BOB.key, asked), sign_typed_data(ALICE.key, more), right[:64], b""):
            with pytest.raises(ChallengeRefused) as refused:
                shop.engine.pay_with_permit(offer.ledger_id, signature=wrong)
            assert refused.value.field == "signature"
        with pytest.raises(ChallengeRefused):
            shop.engine.pay_with_permit(other.ledger_id, signature=right)
    finally:
        shop.close()


@pytest.mark.parametrize("name", ["erc2612", "erc3009-till"])
def test_who_cannot_sign_pays_through_the_till_with_an_approval(anvil: AnvilNode, name: str):
    shop = open_shop(anvil, name)
    try:
        offer = shop.checkout()
        shop.pay(offer)
        assert shop.engine.order(offer.ledger_id).status == "confirmed"
        assert shop.differences() == []
    finally:
        shop.close()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_an_order_that_waits_for_a_signature_is_in_the_database(anvil: AnvilNode, open_database, database: str):
    clock = FrozenClock(MappedShop.when(anvil.block() or {}))
    shop = open_shop(anvil, "erc3009", storage=open_database(database, clock), clock=clock)
    try:
        offer = shop.checkout()
        kept = shop.engine.order(offer.ledger_id)
        assert (kept.payload, kept.next, kept.order.call) == (None, "pay", offer.order.call)
        shop.send(signed(shop, offer), BOB)
        assert shop.engine.order(offer.ledger_id).status == "confirmed"
        assert shop.differences() == []
    finally:
        shop.close()


def test_what_others_sign_for_the_same_token_is_not_kept(anvil: AnvilNode):
    """A large token has many authorizations; only those beside a transfer to the treasury say anything."""
    shop = open_shop(anvil, "erc3009")
    try:
        offer = shop.checkout()
        asked = shop.engine.pay_permit(offer.ledger_id)
        theirs = asked | {"message": asked["message"] | {"to": MALLORY.address, "nonce": "0x" + "07" * 32}}
        signature, until = sign_typed_data(ALICE.key, theirs), int(theirs["message"]["validBefore"])
        terms = (ALICE.address, MALLORY.address, PRICE, 0, until, b"\7" * 32)
        data = calldata("AuthorizedToken", "transferWithAuthorization", *terms, signature)
        foreign = WalletPayload(chain_id=anvil.chain_id, to=shop.token.address, value=0, data=data, gas=200_000)
        assert len(shop.send(foreign, BOB)["logs"]) == 2
        with shop.engine._ports.storage.unit(write=False) as unit:
            assert not unit.logs_between(anvil.chain_id, 0, 10**6)
        shop.send(signed(shop, offer), BOB)
        with shop.engine._ports.storage.unit(write=False) as unit:
            assert len(unit.logs_between(anvil.chain_id, 0, 10**6)) == 2
        assert shop.engine.order(offer.ledger_id).status == "confirmed"
    finally:
        shop.close()


def test_what_was_signed_pays_once_and_can_be_cancelled(anvil: AnvilNode):
    """The nonce is the order: used or cancelled, nothing is left to sign for it."""
    shop = open_shop(anvil, "erc3009")
    try:
        offer = shop.checkout()
        payload = signed(shop, offer)
        cancel = {
            "types": {
                "EIP712Domain": shop.engine.pay_permit(offer.ledger_id)["types"]["EIP712Domain"],
                "CancelAuthorization": [
                    {"name": "authorizer", "type": "address"},
                    {"name": "nonce", "type": "bytes32"},
                ],
            },
            "primaryType": "CancelAuthorization",
            "domain": shop.engine.pay_permit(offer.ledger_id)["domain"],
            "message": {"authorizer": ALICE.address, "nonce": "0x" + offer.reference.hex()},
        }
        given = sign_typed_data(ALICE.key, cancel)
        parts = (given[64], given[:32], given[32:64])
        shop.act(shop.token, "cancelAuthorization", ALICE.address, offer.reference, *parts, sender=BOB.address)
        with pytest.raises(Conflict, match="cancelled"):
            shop.engine.pay_permit(offer.ledger_id)
        tx_hash = shop.node.send(payload.as_rpc(BOB.address))
        shop.settle()
        receipt = shop.node.receipt(tx_hash)
        assert receipt is not None
        assert receipt["status"] == "0x0"
        assert shop.engine.order(offer.ledger_id).status == "pending"
    finally:
        shop.close()


def test_a_permit2_nonce_that_was_given_up_is_not_signed_for(anvil: AnvilNode):
    shop = open_shop(anvil, "permit2")
    try:
        offer = shop.checkout()
        nonce = int.from_bytes(offer.reference, "big")
        permit2 = Deployed(name="TransferPermit2", address=PERMIT2_ADDRESS, block=0)
        shop.act(permit2, "invalidateUnorderedNonces", nonce >> 8, 1 << (nonce & 0xFF), sender=ALICE.address)
        with pytest.raises(Conflict, match="cancelled"):
            shop.engine.pay_permit(offer.ledger_id)
        shop.node.set_code(PERMIT2_ADDRESS, "0x")
        with pytest.raises(Conflict, match="no Permit2"):
            shop.engine.pay_permit(offer.ledger_id)
    finally:
        shop.close()


def test_a_contract_wallet_signs_for_permit2(anvil: AnvilNode):
    shop = open_shop(anvil, "permit2")
    try:
        wallet = deploy(anvil, "ContractWallet", ALICE.address)
        offer = shop.checkout(account=wallet)
        asked = shop.engine.pay_permit(offer.ledger_id)
        with pytest.raises(ChallengeRefused):
            shop.engine.pay_with_permit(offer.ledger_id, signature=sign_typed_data(BOB.key, asked))
        signature = sign_typed_data(ALICE.key, asked)
        payload = shop.engine.pay_with_permit(offer.ledger_id, signature=signature)
        shop.fund(wallet)
        allow = shop.engine.pay_instructions(offer.ledger_id).approval
        assert allow is not None
        anvil.impersonate(wallet.address)
        anvil.rpc("anvil_setBalance", wallet.address, hex(10**18))
        shop.send(allow, wallet, blocks=1)
        shop.send(payload, BOB)
        assert shop.engine.order(offer.ledger_id).status == "confirmed"
        assert shop.differences() == []
    finally:
        shop.close()


def test_a_token_that_moves_on_no_signature_says_so(anvil: AnvilNode):
    shop = open_shop(anvil, "erc3009-till", token="TestToken")
    try:
        offer = shop.checkout()
        with pytest.raises(Conflict, match="no authorizations") as refused:
            shop.engine.pay_permit(offer.ledger_id)
        assert refused.value.field == "asset"
    finally:
        shop.close()


def test_a_token_that_was_renamed_is_signed_for_under_the_name_that_it_signs_by(anvil: AnvilNode):
    shop = open_shop(anvil, "erc3009")
    try:
        offer = shop.checkout()
        shop.act(shop.token, "rename", "Other dollar")
        with pytest.raises(ChainMismatch, match="DOMAIN_SEPARATOR"):
            shop.engine.pay_permit(offer.ledger_id)
        # Newer tokens tell what they sign by (ERC-5267), whatever they are called now.
        shop.act(shop.token, "tell")
        assert shop.engine.pay_permit(offer.ledger_id)["domain"]["name"] == "Test tUSD"
        shop.send(signed(shop, offer), MALLORY)
        assert shop.engine.order(offer.ledger_id).status == "confirmed"
    finally:
        shop.close()


def test_after_the_deadline_the_token_refuses_what_was_signed(anvil: AnvilNode):
    """The window is open at neither end: the last second that ERC-3009 takes is the one before the deadline."""
    shop = open_shop(anvil, "erc3009")
    try:
        offer = shop.checkout()
        payload = signed(shop, offer)
        anvil.rpc("evm_setNextBlockTimestamp", int(offer.deadline.timestamp()))
        tx_hash = anvil.send(payload.as_rpc(MALLORY.address))
        shop.settle()
        receipt = anvil.receipt(tx_hash)
        assert receipt is not None
        assert receipt["status"] == "0x0"
        shop.clock.advance(timedelta(hours=2))
        with pytest.raises(Conflict, match="any more"):
            shop.engine.pay_permit(offer.ledger_id)
    finally:
        shop.close()


AUTHORIZED = load_preset("erc3009").fields()["mint_method"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"sign": AUTHORIZED["sign"] | {"scheme": "erc20"}}, "mint_method.sign.scheme"),
        ({"sign": {"spender": "{treasury}"}}, "mint_method.sign"),
        ({"sign": AUTHORIZED["sign"] | {"spender": "{payer}"}}, "mint_method.sign.spender"),
        ({"sign": AUTHORIZED["sign"] | {"spender": "0x12"}}, "mint_method.sign.spender"),
        ({"sign": None}, "mint_method.args"),
        ({"args": [*AUTHORIZED["args"][:7], "0x" + "00" * 32, "{permit_s}"]}, "mint_method.args"),
        ({"args": [*AUTHORIZED["args"][:6], 27, "0x" + "00" * 32, "0x" + "00" * 32]}, "mint_method.args"),
        ({"args": [*AUTHORIZED["args"][:5], "0x" + "00" * 32, *AUTHORIZED["args"][6:]]}, "mint_method.args"),
    ],
)
def test_what_is_signed_and_where_it_goes_is_checked_when_it_is_saved(anvil: AnvilNode, change, place):
    shop = MappedShop(anvil)
    try:
        shop.open()
        fields = preset("erc3009") | {"mint_method": AUTHORIZED | change}
        with pytest.raises(InputError) as refused:
            shop.bind(Deployed(name="AuthorizedToken", address=shop.token.address, block=0), **fields)
        assert refused.value.field == place
    finally:
        shop.close()


def test_the_api_gives_a_link_and_the_approval_before_anything_is_signed(anvil: AnvilNode):
    shop = open_shop(anvil, "permit2")
    try:
        offer = shop.checkout("alice", wallet=ALICE.address)
        api, path = HttpApi(shop.engine, Options(public_url="https://shop.example")), f"/checkout/{offer.ledger_id}"
        found = api.match("GET", f"{path}/instructions")
        assert found is not None
        request = Request(method="GET", path=path, params=found[1])
        shown = json.loads(api.respond(found[0], request, Actor("alice", frozenset())).body)
        assert (shown["next"], shown["payload"]) == ("pay", None)
        assert shown["approval"]["to"] == shop.token.address
        assert [problem["code"] for problem in shown["problems"]] == ["allowance"]
        assert shown["pay_url"].startswith("https://shop.example/")
    finally:
        shop.close()


@pytest.mark.parametrize("simulates", [True, False])
@pytest.mark.parametrize("name", PRESETS)
def test_a_call_that_takes_a_signature_is_tried_with_a_key_that_is_thrown_away(
    anvil: AnvilNode, name: str, simulates: bool, monkeypatch: pytest.MonkeyPatch
):
    """The money is lent in the simulation; the signature is a real one of what the token wants."""
    shop = open_shop(anvil, name)
    if not simulates:
        monkeypatch.setattr(dry_run, "_SIMULATE", "eth_unheardOf")
    try:
        desk = shop.engine.contracts(ADMIN)
        wanted = {"wallet": ALICE.address, "token": shop.token.address, "amount": PRICE, "signed": True}
        found = desk.simulate("theirs", "local", **wanted)
        assert found.succeeds, found.refusal
        assert found.stand_in not in (None, ALICE.address)
        assert found.gas
        if simulates:
            assert (found.pays, found.unchecked) == (True, ("own_signature",))
            assert [event.means for event in found.events if event.means] == ["paid"]
        else:
            assert (found.pays, found.unchecked) == (None, ("events", "own_signature"))
        if name in SIGNED_ALONE:
            assert desk.simulate("theirs", "local", **(wanted | {"signed": False})).stand_in is not None
        assert shop.balance(shop.treasury) == 0
        # Without the money, and with a call that the Till refuses, it is said.
        poor = desk.simulate("theirs", "local", **(wanted | {"amount": 10**12}))
        assert poor.succeeds is (not simulates)
        elsewhere = desk.simulate("theirs", "local", **(wanted | {"treasury": BOB.address}))
        assert elsewhere.pays is (name == "erc3009" if simulates else None)
    finally:
        shop.close()


def test_what_no_node_can_try_is_not_called_good(anvil: AnvilNode, monkeypatch: pytest.MonkeyPatch):
    shop = open_shop(anvil, "erc3009")
    monkeypatch.setattr(dry_run, "_SIMULATE", "eth_unheardOf")
    monkeypatch.setattr(lending, "_SLOTS", ())
    try:
        desk = shop.engine.contracts(ADMIN)
        found = desk.simulate("theirs", "local", wallet=ALICE.address, token=shop.token.address, amount=PRICE)
        assert (found.succeeds, found.gas, found.pays) == (None, None, None)
        assert found.unchecked == ("call", "events", "own_signature")
    finally:
        shop.close()


def test_a_signature_is_asked_for_where_a_call_takes_one(anvil: AnvilNode):
    shop = open_shop(anvil, "erc3009")
    try:
        plain = shop.bind(
            deploy(anvil, "Till", shop.treasury), slug="plain", **{**preset("erc2612"), "permit_method": None}
        )
        with pytest.raises(Conflict):
            shop.engine.contracts(ADMIN).simulate(
                plain.slug, "local", wallet=ALICE.address, token=shop.token.address, amount=PRICE, signed=True
            )
    finally:
        shop.close()
