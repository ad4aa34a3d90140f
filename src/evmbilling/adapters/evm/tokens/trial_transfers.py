"""Whether as much of a token arrives as is sent, tried on a node: nothing is sent.

The log of a transfer tells what was sent. Where the token keeps a part of it, only balances say so.
"""

from __future__ import annotations

from secrets import token_bytes
from typing import Final

from evmbilling.adapters.evm.abi.calldata import WORD, selector
from evmbilling.adapters.evm.paying.instructions import read_answer
from evmbilling.adapters.evm.rpc.hexes import to_hex
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.adapters.evm.signing.typed_data import address_word
from evmbilling.adapters.evm.tokens.lending import lend
from evmbilling.contracts import artifact
from evmbilling.domain.addresses import checksum
from evmbilling.domain.money import Asset, from_base_units
from evmbilling.errors import ProviderError

_PROBE: Final = "TransferProbe"
_SENT: Final = selector("sent(address,address,uint256)")
_ADDRESS_BYTES: Final = 20
_GAS: Final = 5_000_000
"""Bounds what a token can make a node compute."""


def transfer_difference(rpc: JsonRpc, asset: Asset, amount: int) -> str | None:
    """Return in words that other than what is sent arrives; None where it arrives, or nothing can be said."""
    arrived = arriving(rpc, asset.token, amount)
    if arrived is None or arrived == amount:
        return None
    shown, found = (from_base_units(base_units, asset.decimals) for base_units in (amount, arrived))
    told = "keeps a fee" if arrived < amount else "adds to what is sent"
    return f"{asset.symbol}: the token {asset.token} {told}: of {shown} sent {found} arrive"


def arriving(rpc: JsonRpc, token: str, amount: int) -> int | None:
    """Return how much of an amount arrives at an address that never had any.

    None where nobody can say: the token refuses the transfer, keeps balances where they are not found, or the node
    does not lend them. Sender and receiver are new each time: nobody can have told the token about them.
    """
    sender, receiver = (checksum(token_bytes(_ADDRESS_BYTES)) for _ in range(2))
    try:
        lent = lend(rpc, token, sender, amount, None)
        if not lent:
            return None
        state = {**lent, sender: {"code": to_hex(artifact(_PROBE).deployed_bytecode)}}
        data = _SENT + address_word(token) + address_word(receiver) + amount.to_bytes(WORD)
        call = {"to": sender, "data": to_hex(data), "gas": hex(_GAS)}
        (answer,) = rpc.batch([Call("eth_call", (call, "latest", state))], attempts=1)
        told = read_answer(answer)
    except ProviderError:
        return None  # it is a second look: whether a node answers at all is seen by the first
    if len(told) != 2 * WORD:
        return None
    before, later = int.from_bytes(told[:WORD]), int.from_bytes(told[WORD:])
    return max(0, later - before)
