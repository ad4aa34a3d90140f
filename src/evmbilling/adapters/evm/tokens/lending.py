"""Lending a wallet tokens in a call that nobody sends: state overrides of ``eth_call`` (execution-apis, geth).

Where a token keeps its balances is known to its compiler alone. Most keep a mapping in one of the first slots, as
Solidity or Vyper lays it out, or where OpenZeppelin's upgradeable tokens do (ERC-7201); the place by
which the token answers is it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.calldata import WORD, allowance_call, balance_call
from evmbilling.adapters.evm.paying.instructions import read_answer
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.adapters.evm.signing.typed_data import address_word
from evmbilling.errors import RpcRefused

Overrides: TypeAlias = dict[str, Any]
_FIRST_SLOTS: Final = 24
_NAMESPACED: Final = 0x52C63247E1F47DB19D5CE0460030C497F067CA4CEBF71BA98EEADABE20BACE00
"""``openzeppelin.storage.ERC20`` by ERC-7201; balances are its first slot, allowances its second."""
_SLOTS: Final = (*range(_FIRST_SLOTS), _NAMESPACED, _NAMESPACED + 1)
_MARK: Final = 0x5EED0000
"""What the first place is marked with: small enough for any balance, and nobody's round number."""


def lend(rpc: JsonRpc, token: str, wallet: str, amount: int, allowed: tuple[str, int] | None) -> Overrides | None:
    """Return overrides by which a wallet has so much of a token, and allows a spender so much of it.

    Nothing is lent where the amount is 0. None where the node takes no overrides, or the token keeps its numbers
    elsewhere.

    Raises:
        ProviderError: no node answered.

    """
    found: dict[str, str] = {}
    if amount:
        places = [(_of(wallet, slot, vyper=vyper)) for slot in _SLOTS for vyper in (False, True)]
        place = _place(rpc, token, balance_call(wallet), places, amount)
        if place is None:
            return None
        found[place] = _word(amount)
    if allowed is not None:
        spender, most = allowed
        nested = list(_nested(wallet, spender))
        place = _place(rpc, token, allowance_call(wallet, spender), nested, most)
        if place is None:
            return None
        found[place] = _word(most)
    return {token: {"stateDiff": found}} if found else {}


def _place(rpc: JsonRpc, token: str, question: bytes, places: Sequence[str], amount: int) -> str | None:
    """Return the storage slot by which a token answers.

    Each place is marked with a number of its own in one call: the answer names the place. A second call, with that
    place alone, proves it: the answer may have come of several, or be what the token says anyway.
    """
    call = {"to": token, "data": to_hex(question)}
    answer = _asked(rpc, call, {token: {"stateDiff": {place: _word(_MARK + at) for at, place in enumerate(places)}}})
    if answer is None or not 0 <= answer - _MARK < len(places):
        return None
    place = places[answer - _MARK]
    # Not what it has just said: a token that says always the same would agree to any place.
    probe = amount if amount != answer else amount ^ 1
    return place if _asked(rpc, call, {token: {"stateDiff": {place: _word(probe)}}}) == probe else None


def _asked(rpc: JsonRpc, call: Mapping[str, str], state: Overrides) -> int | None:
    (answer,) = rpc.batch([Call("eth_call", (call, "latest", state))], attempts=1)
    return _number(answer)


def _number(answer: msgspec.Raw | RpcRefused) -> int | None:
    """Read one word; None for anything else, as an address without code answers."""
    try:
        word = read_answer(answer)
    except RpcRefused:
        return None
    return int.from_bytes(word) if len(word) == WORD else None


def _of(wallet: str, slot: int, *, vyper: bool) -> str:
    """Return where a mapping at a slot keeps a wallet's value."""
    key, place = address_word(wallet), slot.to_bytes(WORD, "big")
    return to_hex(keccak(place + key if vyper else key + place))


def _nested(owner: str, spender: str) -> Iterator[str]:
    for slot in _SLOTS:
        key, place = address_word(spender), bytes.fromhex(_of(owner, slot, vyper=False)[2:])
        yield to_hex(keccak(key + place))
        place = bytes.fromhex(_of(owner, slot, vyper=True)[2:])
        yield to_hex(keccak(place + key))


def _word(value: int) -> str:
    return to_hex(value.to_bytes(WORD, "big"))
