"""Calldata of the few calls that are made all the time, written by hand."""

from __future__ import annotations

from typing import Final

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.signing.typed_data import ORDER_STRUCT, ORDER_WORDS, address_word, encode_order
from evmbilling.domain.selling.orders import Order

WORD: Final = 32
SIGNATURE_BYTES: Final = 65


def selector(signature: str) -> bytes:
    """Return the four bytes that name a function."""
    return keccak(signature.encode())[:4]


PAY: Final = selector(f"pay({ORDER_STRUCT},bytes)")
IS_USED: Final = selector("isUsed(bytes32)")
PAUSED: Final = selector("paused()")
IS_SIGNER: Final = selector("isSigner(address)")
APPROVE: Final = selector("approve(address,uint256)")
ALLOWANCE: Final = selector("allowance(address,address)")
TRANSFER: Final = selector("transfer(address,uint256)")
DECIMALS: Final = selector("decimals()")
BALANCE_OF: Final = selector("balanceOf(address)")
REFUND: Final = selector("refund(bytes32,bytes32,address,address,uint256)")
BURNS: Final = {name: selector(f"{name}(uint256)") for name in ("burn", "cancelSubscription")}
"""Both do the same; tools know one or the other."""

# The signature is the only dynamic argument: its offset counts from the end of the selector.
_SIGNATURE_OFFSET: Final = ((ORDER_WORDS + 1) * WORD).to_bytes(WORD, "big")


def pay_call(order: Order, signature: bytes) -> bytes:
    """Return the calldata of ``pay(order, signature)``."""
    padding = bytes(-len(signature) % WORD)
    return b"".join(
        (PAY, encode_order(order), _SIGNATURE_OFFSET, len(signature).to_bytes(WORD, "big"), signature, padding)
    )


def approve_call(spender: str, amount: int) -> bytes:
    """Return the calldata of ``approve(spender, amount)``."""
    return APPROVE + address_word(spender) + amount.to_bytes(WORD, "big")


def transfer_call(receiver: str, amount: int) -> bytes:
    """Return the calldata of ``transfer(receiver, amount)``."""
    return TRANSFER + address_word(receiver) + amount.to_bytes(WORD, "big")


def refund_call(reference: bytes, refund_id: bytes, token: str, receiver: str, amount: int) -> bytes:
    """Return the calldata of ``refund(reference, refundId, token, to, amount)``."""
    words = (address_word(token), address_word(receiver), amount.to_bytes(WORD, "big"))
    return REFUND + reference + refund_id + b"".join(words)


def burn_call(method: str, token_id: int) -> bytes:
    """Return the calldata that burns a membership token by one of ``BURNS``."""
    return BURNS[method] + token_id.to_bytes(WORD, "big")


def allowance_call(owner: str, spender: str) -> bytes:
    """Return the calldata of ``allowance(owner, spender)``."""
    return ALLOWANCE + address_word(owner) + address_word(spender)


def balance_call(owner: str) -> bytes:
    """Return the calldata of ``balanceOf(owner)``."""
    return BALANCE_OF + address_word(owner)


def is_signer_call(signer: str) -> bytes:
    """Return the calldata of ``isSigner(signer)``."""
    return IS_SIGNER + address_word(signer)


def is_used_call(reference: bytes) -> bytes:
    """Return the calldata of ``isUsed(reference)``."""
    return IS_USED + reference
