"""Compiled decoders of events, against eth_abi and web3."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_abi.tools import get_abi_strategy
from eth_hash.auto import keccak
from hexbytes import HexBytes
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import Web3
from web3.datastructures import AttributeDict

from evmbilling.adapters.evm.abi.decoders import EventDecoders, compile_event
from evmbilling.contracts import artifact
from evmbilling.domain.addresses import checksum
from evmbilling.errors import ConfigurationError
from sampling import examples

STATIC = ["address", "bool", "uint8", "uint64", "uint256", "int8", "int40", "int256", "bytes1", "bytes20", "bytes32"]
WHOLE = [*STATIC, "uint16[2]", "(bool,address)", "(uint8,(int16,bytes4))[2]"]
DYNAMIC = ["string", "bytes", "uint256[]", "address[]", "string[]", "bytes[2]", "uint8[][]", "(uint8,string)"]
DYNAMIC += ["(string,uint256[])[]", "(int8,(bytes,bool[2][]))", "string[2][]"]


def event(*inputs: tuple[str, bool], name: str = "Happened") -> dict[str, Any]:
    given = [{**described(kind), "name": f"v{at}", "indexed": indexed} for at, (kind, indexed) in enumerate(inputs)]
    return {"type": "event", "name": name, "anonymous": False, "inputs": given}


def described(kind: str) -> dict[str, Any]:
    """A type as a JSON ABI says it."""
    if not kind.startswith("("):
        return {"type": kind}
    inner, suffix = kind[1 : kind.rindex(")")], kind[kind.rindex(")") + 1 :]
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(inner + ","):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(inner[start:at])
            start = at + 1
    return {
        "type": "tuple" + suffix,
        "components": [{**described(part), "name": f"c{n}"} for n, part in enumerate(parts)],
    }


def ours(value: Any, kind: str) -> Any:
    """A value of eth_abi's in our form: addresses with their checksum."""
    if isinstance(value, tuple | list):
        return tuple(ours(item, kind) for item in value)
    is_address = "address" in kind and isinstance(value, str) and len(value) == 42 and value.startswith("0x")
    return checksum(bytes.fromhex(value[2:])) if is_address else value


def log_of(abi: dict[str, Any], topics: list[bytes], data: bytes) -> AttributeDict[str, Any]:
    place = {"blockNumber": 1, "transactionIndex": 0, "logIndex": 0, "removed": False}
    hashes = {"blockHash": HexBytes(b"1" * 32), "transactionHash": HexBytes(b"2" * 32)}
    told = {"address": "0x" + "cc" * 20, "topics": [HexBytes(t) for t in topics], "data": HexBytes(data)}
    return AttributeDict(told | place | hashes)


@given(st.data())
@settings(max_examples=examples(60), deadline=None)
def test_what_eth_abi_encodes_is_read_as_eth_abi_reads_it(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(WHOLE + DYNAMIC), min_size=0, max_size=4))
    values = [data.draw(get_abi_strategy(kind)) for kind in kinds]
    encoded = encode(kinds, values)
    decoder = compile_event(event(*((kind, False) for kind in kinds)))
    assert decoder.signature == f"Happened({','.join(kinds)})"
    found = decoder.decode([decoder.topic0], encoded)
    expected = decode(kinds, encoded)
    assert found == tuple(ours(value, kind) for value, kind in zip(expected, kinds, strict=True))


@given(st.data())
@settings(max_examples=examples(80), deadline=None)
def test_what_was_tampered_with_is_refused_or_read_as_eth_abi_reads_it(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(STATIC + DYNAMIC), min_size=1, max_size=3))
    encoded = bytearray(encode(kinds, [data.draw(get_abi_strategy(kind)) for kind in kinds]))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    encoded = encoded[: data.draw(st.integers(0, len(encoded)))] if data.draw(st.booleans()) else encoded
    decoder = compile_event(event(*((kind, False) for kind in kinds)))
    found = decoder.decode([decoder.topic0], bytes(encoded))
    try:
        expected = decode(kinds, bytes(encoded))
    except (DecodingError, UnicodeDecodeError, OverflowError, MemoryError):
        assert found is None
        return
    if found is not None:
        assert found == tuple(ours(value, kind) for value, kind in zip(expected, kinds, strict=True))
    elif all(kind in STATIC for kind in kinds):
        assert len(encoded) != 32 * len(kinds)


@given(st.data())
@settings(max_examples=examples(25), deadline=None)
def test_flat_events_are_read_as_web3_reads_them(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from([*STATIC, "string", "bytes", "uint256[]"]), min_size=1, max_size=5))
    places = data.draw(st.sets(st.integers(0, len(kinds) - 1), max_size=3))
    indexed = [kinds[at] in STATIC and at in places for at in range(len(kinds))]
    values = [data.draw(get_abi_strategy(kind)) for kind in kinds]
    abi = event(*zip(kinds, indexed, strict=True))
    topics = [encode([k], [v]) for k, v, i in zip(kinds, values, indexed, strict=True) if i]
    rest = [(k, v) for k, v, i in zip(kinds, values, indexed, strict=True) if not i]
    encoded = encode([k for k, _ in rest], [v for _, v in rest])
    decoder = compile_event(abi)
    log = log_of(abi, [decoder.topic0, *topics], encoded)
    theirs = Web3().eth.contract(abi=[abi]).events.Happened().process_log(log)["args"]
    found = decoder.decode([decoder.topic0, *topics], encoded)
    assert found is not None
    told = {name: tuple(value) if isinstance(value, list | tuple) else value for name, value in theirs.items()}
    assert decoder.named(found) == told


def test_an_indexed_value_that_does_not_fit_is_its_hash() -> None:
    decoder = compile_event(event(("string", True), ("uint8[2]", True), ("(bool,bool)", True), ("uint8", False)))
    hashes = [keccak(b"a"), keccak(b"b"), keccak(b"c")]
    assert decoder.decode([decoder.topic0, *hashes], encode(["uint8"], [7])) == (*hashes, 7)


def test_values_come_in_the_order_of_the_abi() -> None:
    decoder = compile_event(event(("uint8", False), ("address", True), ("bool", False), ("uint8", True)))
    topics = [decoder.topic0, bytes(31) + b"\1", bytes(31) + b"\2"]
    assert decoder.decode(topics, encode(["uint8", "bool"], [3, True])) == (3, "0x" + "0" * 39 + "1", True, 2)
    assert decoder.names == ("v0", "v1", "v2", "v3")


@pytest.mark.fault("T14")
def test_t14_events_of_one_topic_and_another_number_of_topics_are_told_apart() -> None:
    erc20 = event(("address", True), ("address", True), ("uint256", False), name="Transfer")
    erc721 = event(("address", True), ("address", True), ("uint256", True), name="Transfer")
    both = EventDecoders.of([erc20, erc721])
    coin, thing = both
    assert coin.topic0 == thing.topic0 == keccak(b"Transfer(address,address,uint256)")
    assert both.topics == (coin.topic0,)
    parties, number = [bytes(31) + b"\1", bytes(31) + b"\2"], (5).to_bytes(32)
    found = [both.decode([coin.topic0, *parties], number), both.decode([coin.topic0, *parties, number], b"")]
    assert [f and (f.event, f.named()["v2"]) for f in found] == [(coin, 5), (thing, 5)]
    assert EventDecoders.of([erc20]).decode([coin.topic0, *parties, number], b"") is None
    assert both.decode([coin.topic0, *parties], number + b"\0") is None
    assert both.decode([coin.topic0, *parties], b"") is None
    assert both.decode([coin.topic0, b"\1" * 32, parties[1]], number) is None  # no address
    assert both.decode([], b"") is None


def test_the_events_of_our_own_contract_are_compiled() -> None:
    events = EventDecoders.of(artifact("Checkout").abi)
    names = {decoder.name: decoder.signature for decoder in events}
    assert names["Paid"] == "Paid(bytes32,uint256,address,address,bytes32,address,uint256,address,uint64)"


def test_two_offsets_to_the_same_bytes_are_refused() -> None:
    decoder = compile_event(event(("string", False), ("string", False)))
    honest = encode(["string", "string"], ["same", "same"])
    shared = (64).to_bytes(32) * 2 + honest[64:128]
    assert decode(["string", "string"], shared) == ("same", "same")
    assert decoder.decode([decoder.topic0], shared) is None
    assert decoder.decode([decoder.topic0], honest) == ("same", "same")


def test_a_huge_length_costs_nothing() -> None:
    decoder = compile_event(event(("uint256[][]", False)))
    for length in (2**64, 2**255, 2**256 - 1):
        assert decoder.decode([decoder.topic0], (32).to_bytes(32) + length.to_bytes(32) + bytes(64)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"type": "function"},
        {"anonymous": True},
        {"name": ""},
        {"name": None},
        {"inputs": None},
        {"inputs": ["uint256"]},
        {"inputs": [{"name": "a"}]},
        {"inputs": [{"name": "a", "type": "uint257"}]},
        {"inputs": [{"name": "a", "type": "uint08"}]},
        {"inputs": [{"name": "a", "type": "bytes33"}]},
        {"inputs": [{"name": "a", "type": "fixed128x18"}]},
        {"inputs": [{"name": "a", "type": "uint8[0]"}]},
        {"inputs": [{"name": "a", "type": "uint8[100000]"}]},
        {"inputs": [{"name": "a", "type": "uint8" + "[]" * 20}]},
        {"inputs": [{"name": "a", "type": "tuple"}]},
        {"inputs": [{"name": "a", "type": "tuple", "components": []}]},
        {"inputs": [{"name": "a", "type": "tuple[]", "components": [7]}]},
        {"inputs": [{"name": str(n), "type": "uint8", "indexed": True} for n in range(4)]},
    ],
)
def test_an_abi_that_cannot_be_used_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        compile_event(event(("uint8", False)) | change)
    assert caught.value.field == "abi"


def test_aliases_and_unnamed_values() -> None:
    abi = event(("uint", False), ("int", False), ("byte", False), ("function", False))
    for value in abi["inputs"]:
        value["name"] = ""
    decoder = compile_event(abi)
    assert (decoder.signature, decoder.names) == ("Happened(uint256,int256,bytes1,bytes24)", ("0", "1", "2", "3"))
