"""Lending a wallet tokens in a call that nobody sends: state overrides of ``eth_call`` (execution-apis, geth).

Where a token keeps its balances is known to its compiler alone. Most keep a mapping in one of the first slots, as
Solidity or Vyper lays it out, or where OpenZeppelin's upgradeable tokens do (ERC-7201); each place is tried, and the
one by which the token answers with the lent number is it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.calldata import WORD, allowance_call, balance_call
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.adapters.evm.signing.typed_data import address_word
from evmbilling.errors import RpcRefused

Overrides: TypeAlias = dict[str, Any]
_FIRST_SLOTS: Final = 24
_NAMESPACED: Final = 0x52C63247E1F47DB19D5CE0460030C497F067CA4CEBF71BA98EEADABE20BACE00
"""``openzeppelin.storage.ERC20`` by ERC-7201; balances are its first slot, allowances its second."""
_SLOTS: Final = (*range(_FIRST_SLOTS), _NAMESPACED, _NAMESPACED + 1)


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
    """Return the storage slot that makes a token answer with an amount which it does not answer with by itself."""
    call = {"to": token, "data": to_hex(question)}
    # Not the amount itself: a token that happens to answer it would agree to any place.
    probe = amount ^ 1
    asked = [Call("eth_call", (call, "latest", {token: {"stateDiff": {place: _word(probe)}}})) for place in places]
    told, *answers = rpc.batch([Call("eth_call", (call, "latest")), *asked], attempts=1)
    if _number(told) == probe:
        return None
    return next((place for place, answer in zip(places, answers, strict=True) if _number(answer) == probe), None)


def _number(answer: msgspec.Raw | RpcRefused) -> int | None:
    text = None if isinstance(answer, RpcRefused) else msgspec.json.decode(answer)
    return int(text, 16) if isinstance(text, str) and len(text) == 2 + 2 * WORD else None


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
