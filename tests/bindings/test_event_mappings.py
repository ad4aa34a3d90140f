"""Event mappings: what they may say, what is refused, and how logs are read by them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from eth_abi.abi import encode
from web3 import Web3

from evmbilling.adapters.evm.bindings.bindings import binding_of, read_mapped
from evmbilling.domain.addresses import NATIVE_COIN, ZERO_ADDRESS, checksum
from evmbilling.domain.catalogue.call_templates import parse_template, template_json
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.catalogue.event_mappings import mappings_json, mappings_of, parse_mappings
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.errors import ConfigurationError, InputError

ADDRESS, PAYER, VAULT, TOKEN = (checksum(bytes([n]) * 20) for n in (9, 1, 2, 3))


def field(kind: str, name: str, *, indexed: bool = False, components: Any = None) -> dict[str, Any]:
    made = {"type": kind, "name": name, "indexed": indexed}
    return made | ({"components": components} if components else {})


def event(name: str, *inputs: dict[str, Any], anonymous: bool = False) -> dict[str, Any]:
    return {"type": "event", "name": name, "inputs": list(inputs), "anonymous": anonymous}


ORDER = [
    {"type": "bytes32", "name": "ref"},
    {"type": "uint256", "name": "amount"},
    {"type": "address", "name": "token"},
]
BUYER = field("address", "buyer", indexed=True)
ABI: list[dict[str, Any]] = [
    event("Paid", BUYER, field("tuple", "order", components=ORDER), field("address", "to")),
    event("Bought", field("bytes32", "ref", indexed=True), field("address", "buyer"), field("uint256", "amount")),
    event("Bought", field("string", "ref", indexed=True), field("address", "buyer")),
    event("Several", field("uint256[]", "amounts"), field("address", "buyer"), field("address", "buyer")),
    event("Extended", field("uint256", "id", indexed=True), field("int64", "until"), field("uint256", "paid")),
    event("Twice", BUYER, field("address", "to")),
    event("Twice", field("address", "buyer"), field("address", "to", indexed=True)),
    event("Hidden", field("bytes32", "ref"), anonymous=True),
    event("Transfer", BUYER, field("address", "to", indexed=True), field("uint256", "value")),
    {
        "type": "function",
        "name": "buy",
        "inputs": [{"type": "bytes32", "name": "ref"}, {"type": "string", "name": "text"}],
        "stateMutability": "payable",
    },
]  # fmt: skip
PAID = {
    "event": "Paid",
    "means": "paid",
    "reference": "order.ref",
    "payer": "buyer",
    "amount": "order.amount",
    "token": "order.token",
    "treasury": "to",
}
BY_TEXT = {
    "event": "Bought(string,address)",
    "means": "paid",
    "reference": "ref",
    "payer": "buyer",
    "money": "transfer",
}
RETURNED = {"event": "Extended", "means": "refunded", "beneficiary": "a", "amount": "b", "token": {"const": "native"}}
COIN = {
    "event": "Bought(bytes32,address,uint256)",
    "means": "paid",
    "reference": "ref",
    "payer": "buyer",
    "amount": "amount",
    "token": {"const": "native"},
    "treasury": {"const": VAULT},
}
EXTENDED = {
    "event": "Extended",
    "means": "paid",
    "match": "token_id",
    "token_id": "id",
    "amount": "paid",
    "token": {"const": TOKEN},
}
MOVED = {"event": "Transfer", "means": "paid", "match": "payer", "payer": "buyer", "money": "transfer"}


def contract(*events: dict[str, Any], args: Any = ("{reference}", "x"), **changes: Any) -> PaymentContract:
    call = template_json(parse_template({"method": "buy", "args": args, "value": "{amount}"}, field="mint_method"))
    values: dict[str, Any] = {
        "abi": json.dumps(ABI),
        "mint_method": call,
        "burn_method": None,
        "events": mappings_json(parse_mappings(list(events), field="events")),
    }
    return PaymentContract(
        slug="theirs", network="local", chain_id=1, address=ADDRESS, kind="mapped", **(values | changes)
    )


def log(topics: list[bytes], data: bytes, **changes: Any) -> ChainLog:
    values: dict[str, Any] = {"address": ADDRESS, "chain_id": 1}
    return ChainLog(
        block_number=1,
        block_hash=bytes(32),
        block_time=datetime(2026, 1, 1, tzinfo=UTC),
        tx_hash=bytes(32),
        log_index=0,
        ordinal=0,
        topics=tuple(topics),
        data=data,
        **(values | changes),
    )


def word(address: str) -> bytes:
    return bytes(12) + bytes.fromhex(address[2:])


def paid_log(amount: int = 5, token: str = TOKEN, **changes: Any) -> ChainLog:
    data = encode(["(bytes32,uint256,address)", "address"], [(b"\7" * 32, amount, token), VAULT])
    topic = bytes(Web3.keccak(text="Paid(address,(bytes32,uint256,address),address)"))
    return log([topic, word(PAYER)], data, **changes)


def test_fields_are_read_through_tuples():
    seen = read_mapped(paid_log(), contract(PAID))
    assert (seen.kind, seen.rail, seen.found_by, seen.money) == ("payment", "call", "reference", "transfer")
    assert (seen.reference, seen.payer, seen.beneficiary) == (b"\7" * 32, PAYER, PAYER)
    assert (seen.amount, seen.token, seen.treasury) == (5, TOKEN, VAULT)


def test_an_event_can_mean_something_only_when_it_says_so():
    assert read_mapped(paid_log(), contract(PAID | {"when": {"buyer": PAYER.lower(), "order.amount": "5"}})) is not None
    assert read_mapped(paid_log(), contract(PAID | {"when": {"buyer": VAULT}})) is None
    assert read_mapped(paid_log(amount=6), contract(PAID | {"when": {"order.amount": 5}})) is None


def test_an_event_that_says_that_nothing_was_paid_pays_nothing():
    """Else it would be paid by whatever somebody else moves in the same transaction."""
    for mapping in (PAID, PAID | {"money": "transfer"}, PAID | {"money": "transfers"}):
        assert read_mapped(paid_log(amount=0), contract(mapping)) is None


def test_another_contract_or_chain_says_nothing():
    bound = contract(PAID)
    assert read_mapped(paid_log(address=VAULT), bound) is None
    assert read_mapped(paid_log(chain_id=5), bound) is None
    good = paid_log()
    assert read_mapped(attrs.evolve(good, topics=(*good.topics, bytes(32))), bound) is None
    assert read_mapped(attrs.evolve(good, data=good.data[:-1]), bound) is None
    assert read_mapped(attrs.evolve(good, topics=()), bound) is None


def test_the_native_coin_is_what_the_event_says():
    topic = bytes(Web3.keccak(text="Bought(bytes32,address,uint256)"))
    seen = read_mapped(log([topic, b"\7" * 32], encode(["address", "uint256"], [PAYER, 8])), contract(COIN))
    assert (seen.money, seen.token, seen.amount, seen.treasury) == ("event", NATIVE_COIN, 8, VAULT)
    assert read_mapped(log([topic, b"\7" * 32], encode(["address", "uint256"], [PAYER, 0])), contract(COIN)) is None
    nobody = {key: PAID[key] for key in PAID if key != "treasury"}
    assert read_mapped(paid_log(token=ZERO_ADDRESS), contract(nobody)) is None
    zero = read_mapped(paid_log(token=ZERO_ADDRESS), contract(PAID))
    assert (zero.money, zero.token) == ("event", NATIVE_COIN)


def test_an_indexed_text_is_its_hash():
    bound = contract(BY_TEXT, args=("{reference}", "{reference}"))
    topic = bytes(Web3.keccak(text="Bought(string,address)"))
    seen = read_mapped(log([topic, b"\5" * 32], encode(["address"], [PAYER])), bound)
    assert seen.reference == b"\5" * 32
    assert binding_of(bound).start.mark(b"\1" * 32) == Web3.keccak(text="0x" + "01" * 32)


def test_what_is_no_number_is_no_membership():
    ended = {"event": "Extended", "means": "membership_ended", "token_id": "id"}
    topic = bytes(Web3.keccak(text="Extended(uint256,int64,uint256)"))
    data = encode(["int64", "uint256"], [-1, 0])
    seen = read_mapped(log([topic, (77).to_bytes(32, "big")], data), contract(PAID, ended))
    assert (seen.kind, seen.subscription) == ("burn", 77)
    started = ended | {"means": "membership_extended", "expiry": "until"}
    assert read_mapped(log([topic, (77).to_bytes(32, "big")], data), contract(PAID, started)) is None


@pytest.mark.parametrize(
    ("events", "place", "said"),
    [
        ([], "events", "no event means"),
        ({"event": "Paid"}, "events", "a list of at most"),
        (["Paid"], "events[0]", "a name and a meaning"),
        ([{"event": "Paid", "means": "sold"}], "events[0].means", "one of paid"),
        ([{"event": "", "means": "paid"}], "events[0].event", "named"),
        ([PAID | {"refrence": "x"}], "events[0].refrence", "no such part"),
        ([PAID | {"amount": ""}], "events[0].amount", "a field is named"),
        ([PAID | {"amount": 5}], "events[0].amount", "a part is"),
        ([PAID | {"payer": {"const": PAYER}}], "events[0].payer", "cannot be a constant"),
        ([PAID | {"reference": None}], "events[0].match", "say how its order is found"),
        ([PAID | {"match": "amount"}], "events[0].match", "by reference, payer or token_id"),
        ([PAID | {"match": "token_id"}], "events[0].token_id", "does not say"),
        ([PAID | {"money": "both"}], "events[0].money", "event or transfer"),
        ([PAID | {"amount": None}], "events[0].amount", "says the amount"),
        ([PAID | {"token": None}], "events[0].token", "says the token"),
        ([COIN | {"treasury": None}], "events[0].treasury", "the native coin"),
        ([COIN | {"payer": None}], "events[0].payer", "the native coin"),
        ([COIN | {"money": "transfer"}], "events[0].money", "no transfer"),
        ([PAID, {"event": "Extended", "means": "membership_ended"}], "events[1].token_id", "says token_id"),
        ([PAID, {"event": "Extended", "means": "refunded"}], "events[1].beneficiary", "says beneficiary"),
        ([PAID, RETURNED], "events[1].refund_id", "the refund or its order"),
        ([PAID | {"when": ["buyer"]}], "events[0].when", "names fields"),
        ([PAID | {"when": {"buyer": None}}], "events[0].when.buyer", "a field holds"),
        ([PAID | {"amount": {"const": "-1"}}], "events[0].amount", "plain digits"),
        ([PAID | {"treasury": {"const": "0x12"}}], "events[0].treasury", "40 hex"),
    ],
)  # fmt: skip
def test_a_mapping_that_leaves_something_open_is_refused(events, place, said):
    with pytest.raises(InputError) as refused:
        parse_mappings(events, field="events")
    assert refused.value.field == place
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("events", "place", "said"),
    [
        ([PAID | {"event": "Sold"}], "events[0].event", "no event Sold"),
        ([PAID | {"event": "Hidden"}], "events[0].event", "no event Hidden"),
        ([MOVED], "events[0].event", "a token's own transfer"),
        ([PAID | {"event": "Bought"}], "events[0].event", "several of this name"),
        # One topic and two ways to read it: which field is in the topics is not in the signature.
        ([PAID | {"event": "Twice(address,address)"}], "events[0].event", "several of this name"),
        ([PAID, PAID | {"means": "renewed"}], "events[1].event", "events[0] means this event already"),
        ([PAID | {"amount": "order.total"}], "events[0].amount", "no field order.total"),
        ([PAID | {"amount": "order"}], "events[0].amount", "cannot be the amount"),
        ([PAID | {"payer": "order.amount"}], "events[0].payer", "a uint256 cannot be the payer"),
        ([PAID | {"reference": "buyer"}], "events[0].reference", "cannot be the reference"),
        ([PAID, BY_TEXT | {"reference": None, "match": "payer", "amount": "ref"}], "events[1].amount", "only its hash"),
        ([PAID | {"event": "Several", "payer": "buyer"}], "events[0].amount", "no field"),
        ([PAID | {"when": {"seller": PAYER}}], "events[0].when.seller", "no field seller"),
        ([PAID | {"when": {"buyer": 5}}], "events[0].when.buyer", "written as text"),
        ([PAID | {"when": {"order": 5}}], "events[0].when.order", "cannot be compared"),
        ([BY_TEXT], "mint_method.args", "the hash of a string"),
        ([EXTENDED], "mint_method.args", "names no order"),
    ],
)  # fmt: skip
def test_a_mapping_that_does_not_fit_its_abi_is_refused(events, place, said):
    with pytest.raises(InputError) as refused:
        binding_of(contract(*events))
    assert refused.value.field == place
    assert said in refused.value.message


def test_a_paying_call_names_its_order_or_has_a_rule():
    with pytest.raises(InputError) as refused:
        binding_of(contract(PAID, args=("0x" + "00" * 32, "x")))
    assert refused.value.field == "mint_method.args"
    by_payer = {key: PAID[key] for key in PAID if key != "reference"} | {"match": "payer"}
    binding_of(contract(by_payer, args=("0x" + "00" * 32, "x")))


def test_what_is_stored_is_one_text():
    text = mappings_json(parse_mappings([PAID, COIN | {"when": {"buyer": PAYER}}], field="events"))
    assert mappings_json(mappings_of(text)) == text
    assert mappings_of(text)[1].part("token").value == NATIVE_COIN


def test_a_malformed_abi_is_told():
    broken = [{"type": "event", "name": "Paid", "inputs": [{"type": "uint7", "name": "x"}]}, *ABI[1:]]
    with pytest.raises(ConfigurationError):
        binding_of(contract(PAID, abi=json.dumps(broken)))


@pytest.mark.parametrize(
    ("event", "speaks"),
    [
        (PAID, True),  # its token field may say that it is the coin
        (PAID | {"token": {"const": TOKEN}}, False),
        (PAID | {"token": None, "money": "transfer"}, False),
        (PAID | {"token": None, "money": "transfers"}, False),
        (COIN, True),
        ({"event": "Extended", "means": "membership_extended"}, False),
        ({"event": "Extended", "means": "membership_ended", "token_id": "id"}, True),
    ],
)
def test_an_event_whose_money_is_a_transfer_says_nothing_without_one(event, speaks):
    others = [] if event["means"] == "paid" else [PAID | {"token": {"const": TOKEN}}]
    bound = binding_of(contract(event, *others))
    (found,) = [e for e in bound.events.values() if e.mapping.means == event["means"]]
    assert found.needs_transfer is not speaks
    assert (found.decoder.topic0 in bound.speaking) is speaks
