"""Only an order that a signer signed, for this contract on this chain, passes; whatever is changed in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contract_bench import (
    ALICE,
    BOB,
    MALLORY,
    NATIVE,
    ORDER_FIELDS,
    OUTSIDER,
    OWNER,
    SIGNER,
    SIGNER_2,
    START,
    ZERO,
    Bench,
    Order,
    Reverted,
    typed_data,
)
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak, to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st

from sampling import examples

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
AMOUNT = Order().amount
VECTORS = json.loads(Path(__file__).with_name("eip712_vectors.json").read_text())

# One other value per member. The payer stays one who may pay, so that the signature alone decides.
MUTATIONS: dict[str, Any] = {
    "reference": keccak(text="another"),
    "subscription": 8,
    "payer": ZERO,
    "beneficiary": MALLORY,
    "plan": keccak(text="enterprise@1"),
    "token": NATIVE,
    "amount": 1,
    "treasury": MALLORY,
    "memberUntil": 2**64 - 1,
    "deadline": 2**64 - 1,
}


def digest_of(order: Order, chain_id: int, contract: str) -> bytes:
    message = encode_typed_data(full_message=typed_data(order, chain_id, contract))
    return keccak(b"\x19\x01" + message.header + message.body)


def refused(bench: Bench, order: Order, signature: bytes, *, value: int = 0) -> str:
    """Pay, expect a refusal that changes nothing, and return its name."""
    with pytest.raises(Reverted) as caught:
        bench.pay(order, signature, value=value)
    assert bench.checkout.call("isUsed", order.reference) is False
    return caught.value.name


@pytest.mark.fault("S03")
@pytest.mark.parametrize("field", MUTATIONS)
def test_s03_a_signature_does_not_fit_an_order_with_another_value(bench: Bench, field: str) -> None:
    bench.fund(ALICE, AMOUNT)
    bench.evm.set_balance(ALICE, AMOUNT)
    signature = bench.sign(bench.order())
    changed = bench.order(**{field: MUTATIONS[field]})
    assert refused(bench, changed, signature, value=AMOUNT if field == "token" else 0) == "UnknownSigner"


def test_every_member_of_the_order_is_mutated() -> None:
    assert list(MUTATIONS) == [name for name, _ in ORDER_FIELDS] == list(Order._fields)


@pytest.mark.fault("S05")
def test_s05_an_order_for_another_chain_is_refused() -> None:
    here, there = Bench(chain_id=1), Bench(chain_id=8453)
    assert here.checkout.address == there.checkout.address
    signature = here.sign(here.order())
    there.fund(ALICE, AMOUNT)
    assert refused(there, there.order(), signature) == "UnknownSigner"
    here.fund(ALICE, AMOUNT)
    here.pay(here.order(), signature)
    assert len(here.paid()) == 1


@pytest.mark.fault("S06")
def test_s06_an_order_for_another_contract_is_refused(bench: Bench) -> None:
    other = bench.deploy("Checkout", OWNER, ZERO, [SIGNER.address], "Member", "MBR")
    bench.fund(ALICE, AMOUNT)
    signature = bench.sign(bench.order(), contract=other.address)
    assert refused(bench, bench.order(), signature) == "UnknownSigner"


def malformed(signature: bytes) -> dict[str, tuple[bytes, str]]:
    r, s, v = signature[:32], signature[32:64], signature[64]
    compact = r + (int.from_bytes(s, "big") | (v - 27) << 255).to_bytes(32, "big")
    high = (CURVE_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    return {
        "compact EIP-2098": (compact, "ECDSAInvalidSignatureLength"),
        "66 bytes": (signature + b"\x00", "ECDSAInvalidSignatureLength"),
        "empty": (b"", "ECDSAInvalidSignatureLength"),
        "r is zero": (bytes(32) + s + bytes([v]), "ECDSAInvalidSignature"),
        "s is zero": (r + bytes(32) + bytes([v]), "ECDSAInvalidSignature"),
        "high s": (r + high + bytes([55 - v]), "ECDSAInvalidSignatureS"),
        "v is 0 or 1": (r + s + bytes([v - 27]), "ECDSAInvalidSignature"),
        "v is 29": (r + s + b"\x1d", "ECDSAInvalidSignature"),
        "v is 255": (r + s + b"\xff", "ECDSAInvalidSignature"),
        "zeros": (bytes(65), "ECDSAInvalidSignature"),
        "other parity": (r + s + bytes([55 - v]), "UnknownSigner"),
    }


@pytest.mark.fault("S08")
@pytest.mark.parametrize("form", list(malformed(bytes(64) + b"\x1b")))
def test_s08_a_malformed_signature_is_refused_by_name(bench: Bench, form: str) -> None:
    bench.fund(ALICE, AMOUNT)
    signature, error = malformed(bench.sign(bench.order()))[form]
    assert refused(bench, bench.order(), signature) == error


@pytest.mark.fault("S08")
@settings(max_examples=examples(150), deadline=None)
@given(noise=st.binary(max_size=100) | st.binary(min_size=65, max_size=65))
def test_s08_no_bytes_but_the_signature_pass(noise: bytes) -> None:
    bench = Bench()
    bench.fund(ALICE, AMOUNT)
    assert refused(bench, bench.order(), noise) in {
        "ECDSAInvalidSignature",
        "ECDSAInvalidSignatureLength",
        "ECDSAInvalidSignatureS",
        "UnknownSigner",
    }


@pytest.mark.fault("S09")
def test_s09_the_zero_signer_is_refused_everywhere() -> None:
    bench = Bench()
    for attempt in (
        lambda: bench.deploy("Checkout", OWNER, ZERO, [ZERO], "n", "s"),
        lambda: bench.checkout.call("addSigner", ZERO, sender=OWNER),
    ):
        with pytest.raises(Reverted, match="ZeroSigner"):
            attempt()
    # A contract without signers takes nothing, though a failed recovery yields the zero address.
    bench.checkout = bench.deploy("Checkout", OWNER, ZERO, [], "n", "s")
    bench.fund(ALICE, AMOUNT)
    assert bench.checkout.call("isSigner", ZERO) is False
    assert refused(bench, bench.order(), bytes(64) + b"\x1b") == "ECDSAInvalidSignature"


@settings(max_examples=examples(100), deadline=None)
@given(field=st.sampled_from(list(MUTATIONS)), data=st.data())
def test_one_changed_bit_of_any_member_is_refused(field: str, data: st.DataObject) -> None:
    """The property behind S03: whichever bit differs from what was signed, nothing is paid."""
    bench = Bench()
    bench.fund(ALICE, 10**30)
    order = bench.order()
    value = getattr(order, field)
    kind = dict(ORDER_FIELDS)[field]
    bits = {"bytes32": 256, "address": 160, "uint256": 256, "uint64": 64}[kind]
    flip = 1 << data.draw(st.integers(0, bits - 1))
    if kind == "bytes32":
        changed: Any = (int.from_bytes(value, "big") ^ flip).to_bytes(32, "big")
    elif kind == "address":
        changed = to_checksum_address((int(value, 16) ^ flip).to_bytes(20, "big"))
    else:
        changed = value ^ flip
    with pytest.raises(Reverted) as caught:
        bench.pay(order._replace(**{field: changed}), bench.sign(order))
    assert caught.value.name in {"UnknownSigner", "WrongPayer", "OrderLate", "ZeroAmount"}
    assert bench.checkout.call("isUsed", order.reference) is False


addresses = st.binary(min_size=20, max_size=20).map(to_checksum_address)
orders = st.builds(
    Order,
    reference=st.binary(min_size=32, max_size=32),
    subscription=st.integers(0, 2**256 - 1),
    payer=addresses,
    beneficiary=addresses,
    plan=st.binary(min_size=32, max_size=32),
    token=addresses,
    amount=st.integers(0, 2**256 - 1),
    treasury=addresses,
    memberUntil=st.integers(0, 2**64 - 1),
    deadline=st.integers(0, 2**64 - 1),
)


@pytest.mark.fault("S27")
@settings(max_examples=examples(150), deadline=None)
@given(order=orders)
def test_s27_the_contract_and_eth_account_hash_every_order_alike(order: Order) -> None:
    bench = Bench()
    assert bench.checkout.call("orderHash", order) == digest_of(order, bench.chain_id, bench.checkout.address)


@pytest.mark.fault("S27")
@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_s27_golden_vectors(vector: dict[str, Any]) -> None:
    """Fixed orders with fixed digests and signatures: the wire format cannot drift on both sides at once."""
    fields = {
        name: bytes.fromhex(value[2:]) if kind == "bytes32" else int(value) if "uint" in kind else value
        for (name, kind), value in zip(ORDER_FIELDS, vector["order"].values(), strict=True)
    }
    order = Order(**fields)
    bench = Bench(chain_id=vector["chain_id"])
    assert bench.checkout.address == vector["contract"]
    digest = bytes.fromhex(vector["digest"][2:])
    assert bench.checkout.call("orderHash", order) == digest
    assert digest_of(order, vector["chain_id"], vector["contract"]) == digest
    signature = bytes.fromhex(vector["signature"][2:])
    assert bench.sign(order) == signature
    assert Account._recover_hash(digest, signature=signature) == vector["signer"]


def test_the_domain_is_published_as_erc_5267(bench: Bench) -> None:
    fields, name, version, chain_id, contract, salt, extensions = bench.checkout.call("eip712Domain")
    assert (fields, name, version, chain_id) == (b"\x0f", "evmbilling Checkout", "1", 31337)
    assert (contract, salt, extensions) == (bench.checkout.address, bytes(32), ())


def test_another_key_of_the_set_signs_as_well_but_not_an_outsider(bench: Bench) -> None:
    bench.fund(ALICE, AMOUNT)
    order = bench.order()
    assert refused(bench, order, bench.sign(order, key=OUTSIDER)) == "UnknownSigner"
    assert refused(bench, order, bench.sign(order, key=SIGNER_2)) == "UnknownSigner"
    bench.checkout.call("addSigner", SIGNER_2.address, sender=OWNER)
    bench.pay(order, bench.sign(order, key=SIGNER_2))
    assert len(bench.paid()) == 1


@pytest.mark.fault("S18")
@pytest.mark.parametrize(("offset", "passes"), [(-1, True), (0, True), (1, False)])
def test_s18_the_deadline_second_itself_is_in_time(bench: Bench, offset: int, passes: bool) -> None:
    bench.fund(ALICE, AMOUNT)
    order = bench.order()
    bench.at(order.deadline + offset)
    if passes:
        bench.pay(order)
        assert len(bench.paid()) == 1
        return
    with pytest.raises(Reverted) as caught:
        bench.pay(order)
    assert (caught.value.name, caught.value.values) == ("OrderLate", (order.deadline,))


@pytest.mark.fault("S19")
def test_s19_a_payment_mined_after_its_deadline_reverts_and_costs_no_money(bench: Bench) -> None:
    bench.evm.set_balance(ALICE, AMOUNT)
    order = bench.order(token=NATIVE, deadline=START + 60)
    signature = bench.sign(order)  # handed out, sent, and left pending
    bench.at(START + 3600)
    assert refused(bench, order, signature, value=AMOUNT) == "OrderLate"
    assert bench.evm.get_balance(ALICE) == AMOUNT


@pytest.mark.fault("S20")
def test_s20_a_bound_order_cannot_be_paid_by_an_observer(bench: Bench) -> None:
    bench.fund(ALICE, AMOUNT)
    bench.fund(MALLORY, AMOUNT)
    order = bench.order()
    signature = bench.sign(order)
    with pytest.raises(Reverted, match="WrongPayer"):
        bench.pay(order, signature, sender=MALLORY)
    bench.pay(order, signature)
    assert bench.paid()[0]["payer"] == ALICE


@pytest.mark.fault("S20")
def test_s20_who_pays_an_open_order_first_only_makes_its_owner_a_gift(bench: Bench) -> None:
    bench.fund(ALICE, AMOUNT)
    bench.fund(MALLORY, AMOUNT)
    order = bench.order(payer=ZERO)
    signature = bench.sign(order)
    bench.pay(order, signature, sender=MALLORY)
    with pytest.raises(Reverted, match="ReferenceUsed"):
        bench.pay(order, signature)
    assert bench.balance(ALICE) == AMOUNT
    assert bench.checkout.call("ownerOf", order.subscription) == ALICE


@pytest.mark.fault("S21")
def test_s21_a_stranger_who_pays_gets_no_rights(bench: Bench) -> None:
    bench.fund(BOB, AMOUNT)
    order = bench.order(payer=ZERO)
    bench.pay(order, sender=BOB)
    assert bench.paid()[0] | {"payer": BOB, "beneficiary": ALICE} == bench.paid()[0]
    assert bench.checkout.call("balanceOf", BOB) == 0
    for function, arguments in (
        ("burn", (7,)),
        ("cancelSubscription", (7,)),
        ("renewSubscription", (7, 60)),
        ("refund", (order.reference, b"r" * 32, bench.token.address, BOB, 1)),
    ):
        with pytest.raises(Reverted):
            bench.checkout.call(function, *arguments, sender=BOB)


@pytest.mark.fault("S22")
def test_s22_a_payload_changed_in_the_browser_is_refused(bench: Bench) -> None:
    """Each byte of the call data after the selector matters: a page that edits any of them pays nothing."""
    bench.fund(ALICE, AMOUNT)
    order = bench.order()
    data = bench.checkout.data("pay", order, bench.sign(order))
    # 10 words of order, the offset and length of the signature, its 65 bytes; the padding after it is free.
    for place in range(4, 4 + 32 * 12 + 65):
        tampered = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(Reverted):
            bench.send(ALICE, bench.checkout.address, tampered)
    bench.send(ALICE, bench.checkout.address, data)
    assert len(bench.paid()) == 1
