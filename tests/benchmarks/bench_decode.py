"""Decoding alone: compiled decoders against web3.py's ``process_log``, on the same logs, with the same values.

Nothing is asserted that depends on the machine.
"""

# ruff: noqa: T201  - figures are printed
from __future__ import annotations

import hashlib
from statistics import median

import pytest
from bm_reading import timed
from bm_web3 import NOTE, TRANSFER, Web3
from eth_abi.abi import encode
from hexbytes import HexBytes
from web3.datastructures import AttributeDict

from evmbilling.adapters.evm.abi.decoders import compile_event
from evmbilling.adapters.evm.abi.values import _checksummed


def address(number):
    return hashlib.sha256(str(number).encode()).digest()[:20]


def transfers(count, payers):
    for number in range(count):
        topics = [bytes(12) + address(number % payers), bytes(12) + address("treasury")]
        yield topics, encode(["uint256"], [19_990_000 + number])


def notes(count, payers):
    kinds = ["string", "uint256[]", "address[]", "bytes", "uint64"]
    for number in range(count):
        parties = ["0x" + address((number + step) % payers).hex() for step in range(4)]
        values = [f"order {number}, thank you" * 3, list(range(8)), parties, b"\7" * 70, number]
        yield [bytes(12) + address(number % payers)], encode(kinds, values)


def as_web3_gives_it(topics, data):
    place = {"blockNumber": 1, "transactionIndex": 0, "logIndex": 0, "removed": False}
    hashes = {"blockHash": HexBytes(b"1" * 32), "transactionHash": HexBytes(b"2" * 32)}
    told = {"address": "0x" + "cc" * 20, "topics": [HexBytes(t) for t in topics], "data": HexBytes(data)}
    return AttributeDict(told | place | hashes)


@pytest.mark.parametrize(
    ("name", "abi", "make", "payers"),
    [
        ("static, 500 payers", TRANSFER, transfers, 500),
        ("static, every payer new", TRANSFER, transfers, 10**9),
        ("with text and arrays", NOTE, notes, 500),
    ],
)
def test_decoding_alone(plan, name, abi, make, payers):
    count, rounds = (500, 5) if plan.quick else (2_000, 9)
    decoder = compile_event(abi)
    event = getattr(Web3().eth.contract(abi=[abi]).events, abi["name"])()
    logs = [([decoder.topic0, *topics], data) for topics, data in make(count, payers)]
    theirs = [as_web3_gives_it(*log) for log in logs]
    for log, told in zip(logs, theirs, strict=True):
        args = event.process_log(told)["args"]
        same = {key: tuple(value) if isinstance(value, list | tuple) else value for key, value in args.items()}
        assert decoder.named(decoder.decode(*log)) == same
    repeat = 1 if payers > count else 20
    ratios, rates = [], []
    for number in range(rounds):
        took = {}
        for mine in (True, False) if number % 2 else (False, True):
            if mine:
                if payers > count:
                    _checksummed.cache_clear()
                took[mine] = timed(lambda: [decoder.decode(*log) for _ in range(repeat) for log in logs]) / repeat
            else:
                took[mine] = timed(lambda: [event.process_log(log) for log in theirs])
        ratios.append(took[False] / took[True])
        rates.append((count / took[True], count / took[False]))
    ours, peer = (median(rate[at] for rate in rates) for at in (0, 1))
    print(f"\ndecoding, {name}: {ours:,.0f} logs/s, process_log {peer:,.0f}: {median(ratios):.0f} x", end="")
    print(f" ({min(ratios):.0f} to {max(ratios):.0f})")
    assert len(ratios) == rounds
