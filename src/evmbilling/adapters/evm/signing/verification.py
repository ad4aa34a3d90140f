"""Whether an address signed a digest: a key, a contract wallet, or one that is not deployed yet.

In this order: 65 bytes that recover to the address are a key's, whatever code the address has (an EIP-7702 account has
code and still signs as a key); anything else is for the chain to say, by one ``eth_call`` of a creation code that asks
ERC-1271, after ERC-6492's factory call where the signature carries one.
"""

from __future__ import annotations

from typing import Final

from eth_abi.abi import encode

from evmbilling.adapters.evm.rpc.answers import BYTES, decode_answer
from evmbilling.adapters.evm.rpc.hexes import read_bytes, to_hex
from evmbilling.adapters.evm.rpc.pinned import LATEST, ask_now
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.adapters.evm.signing.signatures import recover_signer
from evmbilling.contracts import artifact
from evmbilling.errors import RpcRefused

MOST_BYTES: Final = 16 * 1024
CALL_GAS: Final = 5_000_000
"""Bounds what a wallet or a factory can make a node compute."""

_ACCEPTED: Final = (1).to_bytes(32)
_SENDER: Final = "0x0000000000000000000000000000000000000001"
"""Never a funded account of anybody's: what a factory is made to do is done by nobody."""


def is_key_signature(address: str, digest: bytes, signature: bytes) -> bool:
    """Whether the address's own key signed."""
    return recover_signer(digest, signature) == address


def is_contract_signature(rpc: JsonRpc, address: str, digest: bytes, signature: bytes) -> bool:
    """Whether the contract wallet at an address accepts the signature now (ERC-1271, ERC-6492).

    A call that reverts, runs out of gas or answers anything but one word of 1 is a no.

    Raises:
        RpcUnavailable: no node answered.

    """
    if not signature or len(signature) > MOST_BYTES:
        return False
    arguments = encode(["address", "bytes32", "bytes"], [address, digest, signature])
    code = artifact("SignatureCheck").bytecode + arguments
    call = Call("eth_call", ({"from": _SENDER, "data": to_hex(code), "gas": hex(CALL_GAS)}, LATEST))
    (answer,) = ask_now(rpc, [call])
    if isinstance(answer, RpcRefused):
        return False
    return read_bytes(decode_answer(BYTES, answer, "eth_call")) == _ACCEPTED
