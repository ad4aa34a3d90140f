"""One definition of the signed order, for our signer, for wallets and for the contract."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak
from evm_bench import SIGNER_KEY, TREASURY, Shop, calldata
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.adapters.evm.abi.calldata import approve_call, pay_call
from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.adapters.evm.signing.signatures import recover_signer
from evmbilling.adapters.evm.signing.typed_data import (
    DOMAIN_NAME,
    DOMAIN_VERSION,
    ORDER_FIELDS,
    ORDER_STRUCT,
    encode_order,
    order_digest,
    order_typed_data,
)
from evmbilling.adapters.signers import LocalSigner
from evmbilling.contracts import artifact
from evmbilling.domain.addresses import NATIVE_COIN, checksum
from evmbilling.domain.identity import Product
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import ProviderError, RpcRefused

VECTORS = json.loads(Path(__file__).with_name("order_vectors.json").read_text())
STRANGER = checksum(b"\x66" * 20)
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNER = LocalSigner(SIGNER_KEY)
addresses = st.binary(min_size=20, max_size=20).map(checksum)
instants = st.integers(0, 2**40).map(lambda n: min(n, 250_000_000_000)).map(lambda n: datetime.fromtimestamp(n, UTC))


def make_order(**changes: Any) -> Order:
    start = datetime.fromtimestamp(1_800_000_000, UTC)
    values: dict[str, Any] = {
        "ledger_id": str(UUID(int=1)),
        "reference": keccak(b"order 1"),
        "user_id": "alice",
        "product": Product("site"),
        "plan_slug": "pro",
        "plan_version": 1,
        "subscription_id": str(UUID(int=7)),
        "period": 0,
        "gateway_slug": "crypto",
        "contract_slug": "main",
        "network": "local",
        "asset": Asset(chain_id=31337, token=checksum(b"\xaa" * 20), decimals=6, symbol="TUSD"),
        "quantity": 1,
        "lines": (),
        "amount": 20_000_000,
        "wallet": checksum(b"\xa1" * 20),
        "beneficiary": checksum(b"\xa1" * 20),
        "contract": checksum(b"\xcc" * 20),
        "treasury": TREASURY,
        "gas": 300_000,
        "created_at": start,
        "deadline": start + timedelta(minutes=30),
        "member_until": start + timedelta(days=30),
    }
    return Order(**values | changes)


orders = st.builds(
    make_order,
    reference=st.binary(min_size=32, max_size=32),
    subscription_id=st.none() | st.uuids().map(str),
    plan_slug=st.sampled_from(["pro", "team.x", "a"]),
    plan_version=st.integers(1, 10**6),
    asset=st.builds(
        Asset, chain_id=st.integers(1, 2**63 - 1), token=addresses, decimals=st.just(6), symbol=st.just("T")
    ),
    amount=st.integers(0, 2**256 - 1),
    wallet=addresses,
    beneficiary=addresses,
    contract=addresses,
    treasury=addresses,
    deadline=instants,
    member_until=st.none() | instants,
)


@pytest.mark.fault("S27")
@given(order=orders)
def test_s27_fast_encoding_equals_eth_account_and_eth_abi(order: Order) -> None:
    typed = json.loads(json.dumps(order_typed_data(order)))  # JSON values only
    message = encode_typed_data(full_message=typed)
    assert order_digest(order) == keccak(b"\x19\x01" + message.header + message.body)
    values = [
        bytes.fromhex(value[2:]) if kind == "bytes32" else value if kind == "address" else int(value)
        for (name, kind) in ORDER_FIELDS
        for value in (typed["message"][name],)
    ]
    assert encode_order(order) == encode([kind for _, kind in ORDER_FIELDS], values)
    assert (
        pay_call(order, b"\x05" * 65).hex() == calldata(f"pay({ORDER_STRUCT},bytes)", tuple(values), b"\x05" * 65)[2:]
    )
    assert (
        approve_call(order.contract, order.amount).hex()
        == (calldata("approve(address,uint256)", order.contract, order.amount)[2:])
    )
    signature = SIGNER.sign_digest(order_digest(order))
    assert signature == SIGNER.sign_typed_data(typed) == Account.sign_message(message, SIGNER_KEY).signature
    assert recover_signer(order_digest(order), signature) == SIGNER.address


@pytest.mark.fault("S27")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_s27_golden_vectors_do_not_move(vector: dict[str, Any]) -> None:
    order = make_order(
        **vector["order"]
        | {
            "reference": bytes.fromhex(vector["order"]["reference"]),
            "asset": Asset(**vector["order"]["asset"]),
            "amount": int(vector["order"]["amount"]),
            "deadline": datetime.fromisoformat(vector["order"]["deadline"]),
            "member_until": vector["order"]["member_until"] and datetime.fromisoformat(vector["order"]["member_until"]),
        }
    )
    signature = SIGNER.sign_digest(order_digest(order))
    assert order_digest(order).hex() == vector["digest"]
    assert signature.hex() == vector["signature"]
    assert keccak(pay_call(order, signature)).hex() == vector["calldata_keccak"]


@pytest.mark.fault("S27")
def test_s27_domain_and_fields_are_those_of_the_contract(shop: Shop) -> None:
    pay = next(item for item in artifact("Checkout").abi if item.get("name") == "pay")
    members = [(part["name"], part["type"]) for part in pay["inputs"][0]["components"]]
    assert members == list(ORDER_FIELDS)
    answer = shop.view(shop.checkout, "eip712Domain()")
    words = [answer[at : at + 32] for at in range(0, len(answer), 32)]
    assert DOMAIN_NAME.encode() in answer
    assert DOMAIN_VERSION.encode() in answer
    assert int.from_bytes(words[3], "big") == shop.node.chain_id
    assert checksum(words[4][12:]) == shop.checkout
    for order in (
        shop.order(),
        shop.order(subscription_id=None, member_until=None, asset=shop.native(), amount=2**256 - 1),
    ):
        assert (
            shop.node.rpc("eth_call", {"to": shop.checkout, "data": order_hash_call(order)}, "latest")
            == "0x" + order_digest(order).hex()
        )


def order_hash_call(order: Order) -> str:
    return "0x" + (keccak(f"orderHash({ORDER_STRUCT})".encode())[:4] + encode_order(order)).hex()


# Each changes one thing that was signed; the name is that of the contract's refusal.
MUTATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "reference": ({"reference": keccak(b"another")}, "UnknownSigner(address)"),
    "subscription": ({"subscription_id": str(UUID(int=99))}, "UnknownSigner(address)"),
    "payer": ({"wallet": STRANGER}, "WrongPayer(address,address)"),
    "payer nobody": ({"wallet": "0x" + "00" * 20}, "UnknownSigner(address)"),
    "beneficiary": ({"beneficiary": STRANGER}, "UnknownSigner(address)"),
    "plan": ({"plan_slug": "enterprise"}, "UnknownSigner(address)"),
    "plan version": ({"plan_version": 2}, "UnknownSigner(address)"),
    "token": ({"asset": "native"}, "UnknownSigner(address)"),
    "amount": ({"amount": 1}, "UnknownSigner(address)"),
    "treasury": ({"treasury": STRANGER}, "UnknownSigner(address)"),
    "member until": ({"member_until": datetime(2090, 1, 1, tzinfo=UTC)}, "UnknownSigner(address)"),
    "deadline": ({"deadline": datetime(2090, 1, 1, tzinfo=UTC)}, "UnknownSigner(address)"),
}


@pytest.mark.fault("S03", "S04")
@pytest.mark.parametrize("case", MUTATIONS)
def test_s03_s04_contract_refuses_an_order_changed_in_any_field(shop: Shop, case: str) -> None:
    changes, refusal = MUTATIONS[case]
    shop.approve()
    order = shop.order()
    asset = {"asset": shop.native()} if "asset" in changes else {}
    forged = attrs.evolve(order, **changes | asset)
    payload = shop.provider.payload(forged)
    with pytest.raises(RpcRefused) as caught:
        shop.node.rpc("eth_call", payload.as_rpc(shop.wallet.address), "latest")
    assert caught.value.details["data"][:10] == "0x" + keccak(refusal.encode())[:4].hex()
    assert shop.pay(forged)["status"] == "0x0"
    assert shop.logs() == []
    assert shop.pay(order)["status"] == "0x1"  # the order itself is unharmed


@pytest.mark.fault("S04")
def test_s04_order_signed_by_another_key_is_refused(shop: Shop) -> None:
    shop.approve()
    order = shop.order()
    stranger = LocalSigner("0x" + "22" * 32)
    forged = attrs.evolve(order, signer=stranger.address, signature=stranger.sign_digest(order_digest(order)))
    assert shop.pay(forged)["status"] == "0x0"
    assert shop.logs() == []


@pytest.mark.fault("S02", "S06")
def test_s02_s06_order_for_another_contract_or_domain_is_refused(shop: Shop) -> None:
    shop.approve()
    older = shop.deploy("Checkout", shop.owner, shop.owner, [shop.signer.address], "Member", "MBR")
    order = shop.order(contract=older)
    assert shop.pay(attrs.evolve(order, contract=shop.checkout))["status"] == "0x0"
    typed = order_typed_data(shop.order(signed=False))
    for part, value in (("name", "Checkout"), ("version", "2"), ("chainId", 1)):
        foreign = typed | {"domain": typed["domain"] | {part: value}}
        message = encode_typed_data(full_message=foreign)
        assert keccak(b"\x19\x01" + message.header + message.body) != order_digest(shop.order(signed=False))
        signed = attrs.evolve(shop.order(), signature=shop.signer.sign_typed_data(foreign))
        assert shop.pay(signed)["status"] == "0x0"
    assert shop.logs() == []


@pytest.mark.fault("S20")
def test_s20_who_copies_the_calldata_with_a_higher_tip_pays_nothing(shop: Shop) -> None:
    shop.approve()
    order = shop.order()
    payload = shop.provider.payload(order)
    thief = shop.node.accounts[7].address
    stolen = shop.node.send(
        payload.as_rpc(thief) | {"maxPriorityFeePerGas": hex(9 * 10**9), "maxFeePerGas": hex(30 * 10**9)}
    )
    paid = shop.wallet.send(payload)
    shop.node.mine()
    assert shop.node.receipt(stolen)["status"] == "0x0"
    assert shop.node.receipt(paid)["status"] == "0x1"
    (log,) = shop.logs()
    assert shop.provider.decode(log, shop.contract).payer == order.wallet


@pytest.mark.fault("S08")
@given(signature=st.binary(max_size=70))
def test_s08_noise_is_no_signature_of_ours(signature: bytes) -> None:
    assert recover_signer(b"\x01" * 32, signature) != SIGNER.address


def other_forms(signature: bytes) -> dict[str, bytes]:
    r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
    compact = r + (s | (v - 27) << 255).to_bytes(32, "big")
    return {
        "empty": b"",
        "compact (EIP-2098)": compact,
        "66 bytes": signature + b"\0",
        "v of 0 or 1": signature[:64] + bytes([v - 27]),
        "v of EIP-155": signature[:64] + bytes([v + 10]),
        "high s": r + (CURVE_ORDER - s).to_bytes(32, "big") + bytes([55 - v]),
        "r of zero": bytes(32) + signature[32:],
        "s of zero": r + bytes(32) + bytes([v]),
        "r of the order": CURVE_ORDER.to_bytes(32, "big") + signature[32:],
        "zeros": bytes(65),
    }


@pytest.mark.fault("S08", "S09")
@pytest.mark.parametrize("form", other_forms(b"\x01" * 64 + b"\x1b"))
def test_s08_s09_other_forms_of_a_signature_are_none_to_us_and_to_the_contract(shop: Shop, form: str) -> None:
    shop.approve()
    order = shop.order()
    assert recover_signer(order_digest(order), order.signature) == shop.signer.address
    forged = other_forms(order.signature)[form]
    assert recover_signer(order_digest(order), forged) is None
    assert recover_signer(order_digest(order)[:31], order.signature) is None
    payload = attrs.evolve(shop.provider.payload(order), data=pay_call(order, forged))
    shop.wallet.send(payload)
    shop.node.mine()
    assert shop.logs() == []


class WrongSigner:
    """A signer of a plugin: says one address and signs with another key."""

    remote = False
    address = STRANGER

    def sign_typed_data(self, typed_data: dict[str, Any]) -> bytes:
        return SIGNER.sign_typed_data(typed_data)


class RightSigner(WrongSigner):
    address = SIGNER.address


def test_signature_of_a_plugin_is_checked_before_anybody_is_asked_to_pay(shop: Shop) -> None:
    order = make_order()
    wrong = EvmProvider(signer_for=lambda _: WrongSigner(), reveal=str)
    with pytest.raises(ProviderError, match="does not recover") as caught:
        wrong.sign(order, shop.gateway)
    assert caught.value.field == "signer"
    right = EvmProvider(signer_for=lambda _: RightSigner(), reveal=str)
    assert right.sign(order, shop.gateway) == shop.provider.sign(order, shop.gateway)
    assert right.signer_address(shop.gateway) == SIGNER.address


def test_unsigned_order_has_neither_payload_nor_challenge(shop: Shop) -> None:
    order = make_order()
    for make in (shop.provider.payload, shop.provider.challenge):
        with pytest.raises(ProviderError, match="not signed"):
            make(order)
    assert shop.provider.uri(order) is None
    assert (
        shop.provider.typed_data(attrs.evolve(order, asset=attrs.evolve(order.asset, token=NATIVE_COIN)))["message"][
            "token"
        ]
        == NATIVE_COIN
    )
