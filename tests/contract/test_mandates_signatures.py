"""Only what the payer signed, for this contract on this chain, is a mandate; and the payer ends it at any time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from contract_bench import BOB, DAY, MALLORY, OUTSIDER, OWNER, START, TREASURY, Contract, Reverted
from eth_abi import encode
from eth_account.messages import encode_typed_data
from eth_utils import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from mandates_bench import (
    AMOUNT,
    CHARGER,
    MANDATE_FIELDS,
    MONTH,
    PAYER,
    REASONS,
    Charge,
    Mandate,
    MandatesBench,
    mandate_typed_data,
    revocation_typed_data,
)

from sampling import examples

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
VECTORS = json.loads(Path(__file__).with_name("mandate_vectors.json").read_text())

# One other value per member, each of which would be chargeable if it were signed.
MUTATIONS: dict[str, Any] = {
    "payer": OUTSIDER.address,
    "token": "another token",
    "treasury": MALLORY,
    "subscription": 8,
    "plan": keccak(text="enterprise@1"),
    "chargeCap": 2 * AMOUNT,
    "cap": 2 * AMOUNT,
    "spacing": 1,
    "start": START - 1,
    "expiry": START + 2000 * DAY,
    "operator": CHARGER,
    "permit2": True,
    "salt": 2,
}


def refused(pulls: MandatesBench, mandate: Mandate, signature: bytes) -> str:
    """Charge, expect a code, and see that ``canCharge`` and ``give`` say the same."""
    with pytest.raises(Reverted) as caught:
        pulls.charge(mandate, signature)
    reason = REASONS[caught.value.values[0]]
    assert reason == pulls.reason(mandate, signature)
    with pytest.raises(Reverted) as caught:
        pulls.mandates.call("give", mandate, signature, sender=MALLORY)
    assert REASONS[caught.value.values[0]] == reason
    return reason


def digest_of(message: dict[str, Any]) -> bytes:
    signable = encode_typed_data(full_message=message)
    return keccak(b"\x19\x01" + signable.header + signable.body)


@pytest.mark.fault("S03")
@pytest.mark.parametrize("field", MUTATIONS)
def test_s03_a_consent_does_not_fit_a_mandate_with_another_value(pulls: MandatesBench, field: str) -> None:
    value = MUTATIONS[field]
    if field == "token":
        value = pulls.deploy("NoReturnToken", "Other", "OTH", 6).address
    signature = pulls.consent(pulls.mandate())
    changed = pulls.mandate(**{field: value})
    pulls.endow(OUTSIDER.address, AMOUNT)
    assert refused(pulls, changed, signature) == "BadSignature"


def test_every_member_of_the_mandate_is_mutated() -> None:
    assert list(MUTATIONS) == [name for name, _ in MANDATE_FIELDS] == list(Mandate._fields)


@pytest.mark.fault("S05")
def test_s05_a_mandate_for_another_chain_is_refused() -> None:
    here, there = MandatesBench(chain_id=1), MandatesBench(chain_id=8453)
    assert here.mandates.address == there.mandates.address
    signature = here.consent(here.mandate())
    assert refused(there, there.mandate(), signature) == "BadSignature"
    here.charge(here.mandate(), signature)


@pytest.mark.fault("S06")
def test_s06_a_mandate_for_another_contract_is_refused(pulls: MandatesBench) -> None:
    other = pulls.deploy("Mandates", OWNER, [])
    assert refused(pulls, pulls.mandate(), pulls.consent(pulls.mandate(), contract=other.address)) == "BadSignature"


def malformed(signature: bytes) -> dict[str, bytes]:
    r, s, v = signature[:32], signature[32:64], signature[64]
    return {
        "compact EIP-2098": r + (int.from_bytes(s, "big") | (v - 27) << 255).to_bytes(32, "big"),
        "66 bytes": signature + b"\x00",
        "empty": b"",
        "high s": r + (CURVE_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big") + bytes([55 - v]),
        "v is 0 or 1": r + s + bytes([v - 27]),
        "zeros": bytes(65),
        "other parity": r + s + bytes([55 - v]),
    }


@pytest.mark.fault("S08")
@pytest.mark.parametrize("form", list(malformed(bytes(64) + b"\x1b")))
def test_s08_a_malformed_consent_is_refused(pulls: MandatesBench, form: str) -> None:
    mandate = pulls.mandate()
    assert refused(pulls, mandate, malformed(pulls.consent(mandate))[form]) == "BadSignature"


def test_somebody_elses_key_is_refused(pulls: MandatesBench) -> None:
    mandate = pulls.mandate()
    assert refused(pulls, mandate, pulls.consent(mandate, key=OUTSIDER)) == "BadSignature"


def test_the_zero_address_gives_no_mandate(pulls: MandatesBench) -> None:
    assert refused(pulls, pulls.mandate(payer="0x" + "00" * 20), bytes(65)) == "BadSignature"


@pytest.mark.fault("S16")
def test_s16_an_account_with_a_delegation_signs_as_a_key(pulls: MandatesBench) -> None:
    """EIP-7702: it has code, and its 65 bytes that recover win over whatever that code answers."""
    wallet = pulls.deploy("ContractWallet", OUTSIDER.address)
    pulls.put_code(PAYER.address, bytes.fromhex("ef0100" + wallet.address[2:]))
    mandate = pulls.mandate()
    assert refused(pulls, mandate, pulls.consent(mandate, key=OUTSIDER)) == "BadSignature"
    pulls.charge(mandate)
    assert pulls.balance(TREASURY) == AMOUNT


def contract_wallet(pulls: MandatesBench) -> Contract:
    wallet = pulls.deploy("ContractWallet", OUTSIDER.address)
    pulls.endow(wallet.address, 10 * AMOUNT)
    return wallet


@pytest.mark.fault("S10")
def test_s10_a_contract_wallet_gives_a_mandate(pulls: MandatesBench) -> None:
    mandate = pulls.mandate(payer=contract_wallet(pulls).address)
    assert refused(pulls, mandate, pulls.consent(mandate, key=PAYER)) == "BadSignature"
    pulls.charge(mandate, pulls.consent(mandate, key=OUTSIDER))
    assert pulls.balance(TREASURY) == AMOUNT


@pytest.mark.fault("S10")
@pytest.mark.parametrize(
    "answer",
    [b"\x16\x26\xba\x7e", b"\x16\x26\xba\x7e" + b"\x00" * 60, b"\x16\x26\xba\x7e" + b"\x01" * 28, bytes(32)],
    ids=["four bytes", "64 bytes", "dirty bytes", "zeros"],
)
def test_s10_a_wallet_that_answers_anything_else_did_not_accept(pulls: MandatesBench, answer: bytes) -> None:
    wallet = contract_wallet(pulls)
    mandate = pulls.mandate(payer=wallet.address)
    wallet.call("lie", answer)
    assert refused(pulls, mandate, pulls.consent(mandate, key=OUTSIDER)) == "BadSignature"


def test_a_contract_that_is_no_wallet_gives_no_mandate(pulls: MandatesBench) -> None:
    assert refused(pulls, pulls.mandate(payer=pulls.token.address), bytes(65)) == "BadSignature"


@pytest.mark.fault("S12")
def test_s12_an_account_without_code_is_asked_nothing(pulls: MandatesBench) -> None:
    assert refused(pulls, pulls.mandate(payer=BOB), b"any bytes") == "BadSignature"


def test_a_wallet_that_is_not_deployed_is_refused_and_gives_when_it_is(pulls: MandatesBench) -> None:
    """ERC-6492: before its deployment there is no allowance to pull; after it the inner signature is enough."""
    factory, salt = pulls.deploy("WalletFactory"), bytes(32)
    address = factory.call("addressOf", OUTSIDER.address, salt)
    pulls.token.call("mint", address, AMOUNT)
    mandate = pulls.mandate(payer=address)
    inner = pulls.consent(mandate, key=OUTSIDER)
    making = factory.data("make", OUTSIDER.address, salt)
    wrapped = encode(["address", "bytes", "bytes"], [factory.address, making, inner]) + b"\x64\x92" * 16
    assert refused(pulls, mandate, wrapped) == refused(pulls, mandate, inner) == "BadSignature"
    factory.call("make", OUTSIDER.address, salt)
    assert refused(pulls, mandate, wrapped) == "BadSignature"
    pulls.mandates.call("give", mandate, inner, sender=MALLORY)
    assert pulls.state(mandate) == (1, 0)


# -- the end of a mandate


def revoked(pulls: MandatesBench, mandate: Mandate, signature: bytes | None = None) -> None:
    assert refused(pulls, mandate, signature or pulls.consent(mandate)) == "Revoked"
    assert pulls.remaining(mandate) == 0
    assert pulls.state(mandate)[0] == 2


@pytest.mark.parametrize("charged", [False, True])
def test_a_payer_revokes_for_good_before_or_after_it_was_used(pulls: MandatesBench, charged: bool) -> None:
    mandate, identity = pulls.mandate(), pulls.identity(pulls.mandate())
    if charged:
        pulls.charge(mandate)
    pulls.mandates.call("revoke", identity, sender=PAYER.address)
    assert pulls.told("MandateRevoked") == [{"mandate": identity, "payer": PAYER.address}]
    revoked(pulls, mandate)
    assert pulls.state(mandate) == (2, AMOUNT if charged else 0)
    pulls.mandates.call("revoke", identity, sender=PAYER.address)
    assert pulls.logs == []
    with pytest.raises(Reverted) as caught:
        pulls.mandates.call("give", mandate, b"", sender=PAYER.address)
    assert REASONS[caught.value.values[0]] == "Revoked"
    pulls.at(START + MONTH)
    pulls.charge(pulls.mandate(salt=2), reference=keccak(text="order 2"))  # another one is another one


@pytest.mark.parametrize("sender", [MALLORY, CHARGER, OWNER, TREASURY])
def test_nobody_else_revokes_it(pulls: MandatesBench, sender: str) -> None:
    mandate = pulls.mandate()
    pulls.mandates.call("revoke", pulls.identity(mandate), sender=sender)
    assert pulls.state(mandate) == (0, 0)
    pulls.charge(mandate)
    assert pulls.balance(TREASURY) == AMOUNT


def test_a_contract_that_cannot_sign_gives_and_revokes_by_its_own_calls(pulls: MandatesBench) -> None:
    """It is the caller that counts, not who sent the transaction."""
    wallet = pulls.deploy("Forwarder", PAYER.address)
    pulls.endow(wallet.address, AMOUNT)
    mandate, own = pulls.mandate(payer=wallet.address), pulls.mandate()

    def act(function: str, *arguments: Any) -> None:
        data = pulls.mandates.data(function, *arguments)
        wallet.call("execute", pulls.mandates.address, 0, data, sender=PAYER.address)

    act("give", mandate, b"")
    pulls.charge(mandate, b"")
    act("revoke", pulls.identity(own))
    assert pulls.state(own) == (0, 0)
    with pytest.raises(Reverted) as caught:
        act("give", own, b"")
    assert REASONS[caught.value.values[0]] == "BadSignature"
    act("revoke", pulls.identity(mandate))
    assert pulls.state(mandate) == (2, AMOUNT)


def revocation(pulls: MandatesBench, mandate: Mandate, key: Any = PAYER) -> bytes:
    message = revocation_typed_data(mandate.payer, pulls.identity(mandate), pulls.chain_id, pulls.mandates.address)
    digest = pulls.mandates.call("revocationHash", mandate.payer, pulls.identity(mandate))
    assert digest_of(message) == digest
    return bytes(key.unsafe_sign_hash(digest).signature)


def test_anybody_sends_the_revocation_that_the_payer_signed(pulls: MandatesBench) -> None:
    mandate = pulls.mandate()
    call = ("revokeBySignature", PAYER.address, pulls.identity(mandate))
    for wrong in (revocation(pulls, mandate, OUTSIDER), pulls.consent(mandate), b""):
        with pytest.raises(Reverted) as caught:
            pulls.mandates.call(*call, wrong, sender=MALLORY)
        assert REASONS[caught.value.values[0]] == "BadSignature"
    pulls.charge(mandate)
    signature = revocation(pulls, mandate)
    pulls.mandates.call(*call, signature, sender=MALLORY)
    revoked(pulls, mandate)
    pulls.mandates.call(*call, signature, sender=MALLORY)
    assert pulls.logs == []


def test_a_contract_wallet_revokes_by_signature_too(pulls: MandatesBench) -> None:
    mandate = pulls.mandate(payer=contract_wallet(pulls).address)
    pulls.charge(mandate, pulls.consent(mandate, key=OUTSIDER))
    signature = revocation(pulls, mandate, OUTSIDER)
    pulls.mandates.call("revokeBySignature", mandate.payer, pulls.identity(mandate), signature, sender=MALLORY)
    revoked(pulls, mandate, pulls.consent(mandate, key=OUTSIDER))
    assert pulls.state(mandate) == (2, AMOUNT)


# -- the typed data


def mandate_of(terms: dict[str, Any]) -> Mandate:
    """Read the terms of a golden vector, whose bytes are hex and whose numbers are decimal."""
    readers: dict[str, Any] = {"address": str, "bool": bool, "bytes32": lambda text: bytes.fromhex(text[2:])}
    return Mandate(**{name: readers.get(kind, int)(terms[name]) for name, kind in MANDATE_FIELDS})


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_contract_and_eth_account_agree_on_the_golden_digests(vector: dict[str, Any]) -> None:
    pulls = MandatesBench(chain_id=vector["chain_id"])
    assert pulls.mandates.address == vector["contract"]
    mandate = mandate_of(vector["mandate"])
    assert "0x" + pulls.identity(mandate).hex() == vector["digest"]
    assert (
        "0x" + digest_of(mandate_typed_data(mandate, vector["chain_id"], vector["contract"])).hex() == vector["digest"]
    )
    assert "0x" + pulls.consent(mandate).hex() == vector["signature"]


@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_the_contract_and_eth_account_agree_on_any_mandate(data: st.DataObject) -> None:
    pulls = MandatesBench()
    address = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())
    kinds = {
        "address": address,
        "bytes32": st.binary(min_size=32, max_size=32),
        "bool": st.booleans(),
        **{f"uint{bits}": st.integers(0, 2**bits - 1) for bits in (64, 160, 256)},
    }
    mandate = Mandate(**{name: data.draw(kinds[kind], label=name) for name, kind in MANDATE_FIELDS})
    assert pulls.identity(mandate) == digest_of(mandate_typed_data(mandate, 31337, pulls.mandates.address))


def test_an_order_of_the_checkout_is_no_mandate(pulls: MandatesBench) -> None:
    mandate = pulls.mandate()
    order = pulls.order(payer=PAYER.address)
    assert refused(pulls, mandate, pulls.sign(order, key=PAYER)) == "BadSignature"
    assert Charge().reference == order.reference
