"""What wallets sign and operators send, against the compiled contracts and eth-account."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import pytest
from contract_bench import MALLORY, OUTSIDER, TREASURY, Bench, Reverted
from eth_abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils import keccak, to_checksum_address
from hypothesis import given, settings
from hypothesis import strategies as st
from mandate_records import CHECKOUT, CONTRACT, NOW, OPERATOR, PAYER, PRICE, SUBSCRIPTION, mandate, order
from mandates_bench import CHARGER, MANDATE_FIELDS, PERMIT2, MandatesBench
from mandates_bench import PAYER as PAYER_KEY

from evmbilling.adapters.evm.abi.events import CHARGED, MANDATE_GIVEN, MANDATE_REVOKED, PAID, REFUNDED, decode_mandates
from evmbilling.adapters.evm.mandates.mandates import (
    CHARGE_GAS,
    PERMIT_GAS,
    can_charge_call,
    carried_permit,
    charge_call,
    charge_payload,
    encode_mandate,
    give_call,
    mandate_digest,
    mandate_typed_data,
    revoke_call,
    state_call,
    unwrapped,
)
from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.adapters.evm.signing.permit2 import (
    encode_permit,
    permit2_allowance_call,
    permit2_approve_call,
    permit_call,
    permit_typed_data,
)
from evmbilling.adapters.signers import LocalSigner
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.mandates.mandate_charges import Charge, charge_of
from evmbilling.domain.mandates.mandates import PERMIT2_ADDRESS, Mandate, MandateStatus, Permit
from evmbilling.domain.money import Asset
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.ports.mandates import MandateProvider
from evmbilling.testing.mandate_logs import charge_logs, given_log, revoked_log
from sampling import examples

VECTORS = json.loads((Path(__file__).parent.parent / "contract/mandate_vectors.json").read_text())
PLANS = {"0x" + keccak(text="pro@1").hex(): ("pro", 1)}
BOUND = PaymentContract(slug="pulls", network="local", chain_id=31337, address=CONTRACT, kind="mandates")


def digest_of(message: dict[str, Any]) -> bytes:
    signable = encode_typed_data(full_message=message)
    return keccak(b"\x19\x01" + signable.header + signable.body)


def of_vector(vector: dict[str, Any]) -> Mandate:
    terms = vector["mandate"]
    plan_slug, plan_version = PLANS[terms["plan"]]

    def instant(text: str) -> datetime:
        return datetime.fromtimestamp(min(int(text), 253_402_300_799), UTC)

    return attrs.evolve(
        mandate(),
        asset=Asset(chain_id=vector["chain_id"], token=terms["token"], decimals=6, symbol="X"),
        contract=vector["contract"],
        payer=terms["payer"],
        treasury=terms["treasury"],
        subscription_id=str(UUID(int=int(terms["subscription"]))),
        plan_slug=plan_slug,
        plan_version=plan_version,
        charge_cap=int(terms["chargeCap"]),
        cap=int(terms["cap"]),
        spacing=int(terms["spacing"]),
        start=instant(terms["start"]),
        expires_at=instant(terms["expiry"]),
        operator="" if int(terms["operator"], 16) == 0 else terms["operator"],
        via="permit2" if terms["permit2"] else "allowance",
        salt=int(terms["salt"]),
    )


@pytest.mark.parametrize("vector", VECTORS[:2], ids=lambda vector: vector["name"])
def test_the_golden_vectors_of_the_contract_are_ours(vector: dict[str, Any]) -> None:
    ours = of_vector(vector)
    assert "0x" + mandate_digest(ours).hex() == vector["digest"]
    message = mandate_typed_data(ours)
    assert [field["name"] for field in message["types"]["Mandate"]] == [name for name, _ in MANDATE_FIELDS]
    assert json.loads(json.dumps(message)) == message
    assert "0x" + digest_of(message).hex() == vector["digest"]
    signed = Account.sign_typed_data(PAYER_KEY.key, full_message=message).signature
    assert "0x" + bytes(signed).hex() == vector["signature"]


class Sent:
    """Our calls, sent to the compiled contract on an in-process chain; times are the bench's."""

    def __init__(self) -> None:
        self.bench = MandatesBench()
        asset = Asset(chain_id=31337, token=self.bench.token.address, decimals=6, symbol="TUSD")
        self.mandate = mandate(
            asset=asset,
            contract=self.bench.mandates.address,
            start=datetime.fromtimestamp(self.bench.now, UTC),
            expires_at=datetime.fromtimestamp(self.bench.now + 10**8, UTC),
        )
        self.charge = charge_of(order(deadline=self.mandate.expires_at, contract=self.bench.checkout.address))

    def sign(self, **changes: Any) -> Mandate:
        made = attrs.evolve(self.mandate, **changes)
        made = attrs.evolve(made, digest=mandate_digest(made))
        self.mandate = attrs.evolve(made, signature=bytes(PAYER_KEY.unsafe_sign_hash(made.digest).signature))
        return self.mandate

    def send(self, data: bytes, *, sender: str = CHARGER, to: str | None = None) -> bytes:
        return self.bench.send(sender, to or self.bench.mandates.address, data)

    def word(self, data: bytes) -> int:
        return int.from_bytes(self.send(data)[:32])


@pytest.fixture
def sent() -> Sent:
    return Sent()


def test_our_calls_are_the_contracts(sent: Sent) -> None:
    signed = sent.sign()
    assert sent.word(can_charge_call(signed, sent.charge, CHARGER)) == 0
    assert sent.word(can_charge_call(signed, sent.charge, MALLORY)) == 2
    payload = charge_payload(signed, sent.charge)
    assert (payload.to, payload.value, payload.gas) == (signed.contract, 0, CHARGE_GAS)
    sent.send(payload.data)
    assert sent.bench.gas < CHARGE_GAS
    assert sent.bench.balance(TREASURY) == PRICE
    stage, charged = (int.from_bytes(word) for word in _words(sent.send(state_call(signed))))
    assert (stage, charged) == (1, PRICE)
    sent.send(revoke_call(signed), sender=PAYER)
    assert int.from_bytes(sent.send(state_call(signed))[:32]) == 2


def test_giving_by_somebody_else(sent: Sent) -> None:
    signed = sent.sign()
    sent.send(give_call(signed), sender=MALLORY)
    unsigned = attrs.evolve(sent.sign(salt=2), signature=b"")
    with pytest.raises(Reverted):
        sent.send(give_call(unsigned), sender=MALLORY)
    sent.send(give_call(unsigned), sender=PAYER)


def permit_of(sent: Sent, **changes: Any) -> Permit:
    end = sent.mandate.expires_at
    permit = attrs.evolve(Permit(amount=PRICE, nonce=0, expiration=end, deadline=end), **changes)
    signature = PAYER_KEY.unsafe_sign_hash(digest_of(permit_typed_data(sent.mandate, permit))).signature
    return attrs.evolve(permit, signature=bytes(signature))


def test_a_charge_brings_the_permit_until_the_contract_knows_the_mandate(sent: Sent) -> None:
    sent.sign(via="permit2")
    signed = attrs.evolve(sent.mandate, permit=permit_of(sent))
    payload = charge_payload(signed, sent.charge)
    assert payload.gas == CHARGE_GAS + PERMIT_GAS
    sent.send(payload.data)
    assert sent.bench.gas < payload.gas
    assert sent.bench.balance(TREASURY) == PRICE
    known = attrs.evolve(signed, status=MandateStatus.ACTIVE)
    assert carried_permit(known) is None
    assert charge_call(known, sent.charge)[:4] != payload.data[:4]
    unsigned = attrs.evolve(signed, permit=attrs.evolve(permit_of(sent), signature=b""))
    assert carried_permit(unsigned) is None


def test_permits_are_permit2s(sent: Sent) -> None:
    sent.sign(via="permit2")
    permit = permit_of(sent, amount=7, nonce=0)
    single = encode_permit(sent.mandate.asset.token, sent.mandate.contract, permit)
    told = sent.send(
        keccak(text="permitHash(((address,uint160,uint48,uint48),address,uint256))")[:4] + single, to=PERMIT2
    )
    message = permit_typed_data(sent.mandate, permit)
    assert told == digest_of(message)
    assert json.loads(json.dumps(message)) == message
    assert "version" not in message["domain"]
    sent.send(permit_call(sent.mandate, permit), to=PERMIT2, sender=MALLORY)
    ask = permit2_allowance_call(PAYER, sent.mandate.asset.token, sent.mandate.contract)
    end = int(sent.mandate.expires_at.timestamp())
    assert [int.from_bytes(word) for word in _words(sent.send(ask, to=PERMIT2))] == [7, end, 1]
    sent.send(permit2_approve_call(sent.mandate.asset.token, sent.mandate.contract, 9, 2**60), to=PERMIT2, sender=PAYER)
    assert [int.from_bytes(word) for word in _words(sent.send(ask, to=PERMIT2))] == [9, 2**48 - 1, 1]
    assert PERMIT2 == PERMIT2_ADDRESS


# -- events


def logs_of(bench: Bench) -> list[ChainLog]:
    """The raw logs of the last transaction, as a reader gets them."""
    return [
        ChainLog(
            chain_id=31337,
            block_number=1,
            block_hash=bytes(32),
            block_time=NOW,
            tx_hash=bytes(32),
            log_index=place,
            ordinal=place,
            address=to_checksum_address(log.address),
            topics=tuple(log.data[0]),
            data=log.data[1],
        )
        for place, log in enumerate(bench.evm.result.logs)
    ]


def test_events_of_the_contract_are_read_whole(sent: Sent) -> None:
    signed = sent.sign()
    bound = attrs.evolve(BOUND, address=signed.contract)
    sent.send(charge_call(signed, sent.charge))
    given_, transfer, charged = logs_of(sent.bench)
    assert (given_.topics[0], charged.topics[0]) == (MANDATE_GIVEN, CHARGED)
    assert decode_mandates(transfer, bound) is None
    seen = decode_mandates(charged, bound)
    assert seen is not None
    assert (seen.kind, seen.rail, seen.reference, seen.mandate) == (
        "payment",
        "mandate",
        sent.charge.reference,
        signed.digest,
    )
    assert (seen.payer, seen.beneficiary, seen.treasury) == (PAYER, PAYER, TREASURY)
    assert (seen.token, seen.amount, seen.subscription) == (signed.asset.token, PRICE, UUID(SUBSCRIPTION).int)
    told = decode_mandates(given_, bound)
    assert told is not None
    assert (told.kind, told.mandate, told.payer, told.amount, told.reference) == (
        "mandate_given",
        signed.digest,
        PAYER,
        0,
        b"",
    )
    assert (told.token, told.treasury, told.subscription) == (signed.asset.token, TREASURY, UUID(SUBSCRIPTION).int)
    sent.send(revoke_call(signed), sender=PAYER)
    (revoked,) = logs_of(sent.bench)
    assert revoked.topics[0] == MANDATE_REVOKED
    over = decode_mandates(revoked, bound)
    assert over is not None
    assert (over.kind, over.mandate, over.payer) == ("mandate_revoked", signed.digest, PAYER)


def test_the_logs_of_the_testing_kit_are_the_contracts(sent: Sent) -> None:
    signed = sent.sign()
    sent.send(charge_call(signed, sent.charge))
    real = [(log.address, log.topics, log.data) for log in logs_of(sent.bench)]
    assert [(log.address, log.topics, log.data) for log in charge_logs(signed, sent.charge, first=True)] == real
    assert given_log(signed) == charge_logs(signed, sent.charge, first=True)[0]
    sent.send(revoke_call(signed), sender=PAYER)
    assert [(log.address, log.topics, log.data) for log in (revoked_log(signed),)] == [
        (log.address, log.topics, log.data) for log in logs_of(sent.bench)
    ]


def log(fake: Any, **changes: Any) -> ChainLog:
    full = ChainLog(
        chain_id=31337,
        block_number=1,
        block_hash=bytes(32),
        block_time=NOW,
        tx_hash=bytes(32),
        log_index=0,
        ordinal=0,
        address=fake.address,
        topics=fake.topics,
        data=fake.data,
    )
    return attrs.evolve(full, **changes)


@pytest.mark.parametrize("which", [0, 2, 3], ids=["given", "charged", "revoked"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda one: {"address": OPERATOR},
        lambda one: {"chain_id": 1},
        lambda one: {"topics": ()},
        lambda one: {"topics": one.topics[:-1]},
        lambda one: {"topics": (*one.topics, bytes(32))},
        lambda one: {"topics": (bytes(32), *one.topics[1:])},
        lambda one: {"data": one.data + bytes(32)},
        lambda one: {"data": one.data[:-1] if one.data else b"\1"},
        lambda one: {"topics": tuple(b"\xff" * 32 if t[:12] == bytes(12) else t for t in one.topics)},
    ],
    ids=["address", "chain", "no topics", "topic gone", "topic more", "topic0", "longer", "shorter", "dirty address"],
)
def test_a_log_of_any_other_shape_is_nothing(which: int, spoil: Any) -> None:
    given_ = mandate()
    logs = [*charge_logs(given_, charge_of(order()), first=True), revoked_log(given_)]
    good = log(logs[which])
    assert decode_mandates(good, BOUND) is not None
    bad = attrs.evolve(good, **spoil(good))
    seen = decode_mandates(bad, BOUND)
    # The subscription is a number: any 32 bytes are one.
    assert seen is None or (which == 0 and bad.topics[2] == good.topics[2])


@settings(max_examples=examples(200))
@given(data=st.binary(max_size=500), topics=st.lists(st.binary(min_size=32, max_size=32), max_size=4))
def test_any_bytes_are_read_or_refused(data: bytes, topics: list[bytes]) -> None:
    for first in (CHARGED, MANDATE_GIVEN, MANDATE_REVOKED):
        given = log(given_log(mandate()), topics=(first, *topics[1:]), data=data)
        seen = decode_mandates(given, BOUND)
        assert seen is None or seen.log == given


def test_the_reader_is_told_of_every_kind_of_contract() -> None:
    provider = EvmProvider(signer_for=lambda _: LocalSigner("0x" + "11" * 32), reveal=lambda _: "")
    checkout = attrs.evolve(BOUND, slug="shop", address=CHECKOUT, kind="checkout", start_block=7)
    watch = provider.watch([BOUND, checkout])
    assert watch.addresses == tuple(sorted((CONTRACT, CHECKOUT)))
    assert watch.topics == (PAID, REFUNDED, CHARGED, MANDATE_GIVEN, MANDATE_REVOKED)
    # What happens to a mandate names no order, so a reader that passes over other shops' orders looks at it.
    assert watch.unnamed == (MANDATE_GIVEN, MANDATE_REVOKED)
    assert provider.watch([checkout]).unnamed == ()
    assert provider.watch([BOUND]).topics == (CHARGED, MANDATE_GIVEN, MANDATE_REVOKED)
    assert provider.watch([checkout]).topics == (PAID, REFUNDED)
    charged = log(charge_logs(mandate(), charge_of(order()))[1])
    assert provider.decode(charged, BOUND) == decode_mandates(charged, BOUND)
    # An event of the one kind is nothing from a contract of the other.
    assert provider.decode(attrs.evolve(charged, address=CHECKOUT), checkout) is None
    assert isinstance(provider, MandateProvider)


# -- signatures on their way to the contract


def test_an_erc_6492_signature_is_handed_on_without_its_wrapping() -> None:
    inner = b"\x07" * 90
    wrapped = encode(["address", "bytes", "bytes"], [OUTSIDER.address, b"make", inner]) + b"\x64\x92" * 16
    assert unwrapped(wrapped) == inner
    assert unwrapped(inner) == inner


@given(st.binary(max_size=300))
def test_a_broken_wrapping_is_refused_quietly(junk: bytes) -> None:
    found = unwrapped(junk + b"\x64\x92" * 16)
    assert found is None or isinstance(found, bytes)


def test_the_words_of_the_struct_are_thirteen() -> None:
    words = _words(encode_mandate(mandate(operator=OPERATOR, via="permit2")))
    assert len(words) == len(MANDATE_FIELDS)
    assert words[10][12:] == bytes.fromhex(OPERATOR[2:])
    assert words[11] == (1).to_bytes(32)
    assert Charge(reference=bytes(32), amount=1, deadline=NOW).checkout == "0x" + "00" * 20


def _words(data: bytes) -> list[bytes]:
    return [data[place : place + 32] for place in range(0, len(data), 32)]
