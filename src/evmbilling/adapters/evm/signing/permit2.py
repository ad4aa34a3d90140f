"""Permit2's allowances (AllowanceTransfer): their typed data and calls. Its domain has no version."""

from __future__ import annotations

from typing import Any, Final

from evmbilling.adapters.evm.abi.calldata import WORD, selector
from evmbilling.adapters.evm.signing.typed_data import address_word, listed, unix_seconds
from evmbilling.domain.mandates.mandates import PERMIT2_ADDRESS, Mandate, Permit

DETAILS_FIELDS: Final = (("token", "address"), ("amount", "uint160"), ("expiration", "uint48"), ("nonce", "uint48"))
SINGLE_FIELDS: Final = (("details", "PermitDetails"), ("spender", "address"), ("sigDeadline", "uint256"))
DOMAIN_FIELDS: Final = (("name", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))
PERMIT_STRUCT: Final = "((address,uint160,uint48,uint48),address,uint256)"
MAX_UINT48: Final = 2**48 - 1
APPROVE_GAS: Final = 100_000

_ALLOWANCE: Final = selector("allowance(address,address,address)")
_APPROVE: Final = selector("approve(address,address,uint160,uint48)")
_PERMIT: Final = selector(f"permit(address,{PERMIT_STRUCT},bytes)")
_SIGNATURE_OFFSET: Final = (8 * WORD).to_bytes(WORD, "big")


def permit_typed_data(mandate: Mandate, permit: Permit) -> dict[str, Any]:
    """Return the ``PermitSingle`` that lets the mandate's contract take the payer's tokens, as typed data."""
    return {
        "types": {
            "EIP712Domain": listed(DOMAIN_FIELDS),
            "PermitSingle": listed(SINGLE_FIELDS),
            "PermitDetails": listed(DETAILS_FIELDS),
        },
        "primaryType": "PermitSingle",
        "domain": {"name": "Permit2", "chainId": mandate.chain_id, "verifyingContract": PERMIT2_ADDRESS},
        "message": {
            "details": {
                "token": mandate.asset.token,
                "amount": str(permit.amount),
                "expiration": unix_seconds(permit.expiration),
                "nonce": permit.nonce,
            },
            "spender": mandate.contract,
            "sigDeadline": str(unix_seconds(permit.deadline)),
        },
    }


def encode_permit(token: str, spender: str, permit: Permit) -> bytes:
    """Return the struct as six words: the details, the spender, the signature's deadline."""
    return _encode_details(token, permit) + address_word(spender) + _word(unix_seconds(permit.deadline))


def permit_call(mandate: Mandate, permit: Permit) -> bytes:
    """Return the calldata of ``permit``, which anybody may send."""
    signature = permit.signature
    parts = (
        _PERMIT,
        address_word(mandate.payer),
        encode_permit(mandate.asset.token, mandate.contract, permit),
        _SIGNATURE_OFFSET,
        _word(len(signature)),
        signature,
        bytes(-len(signature) % WORD),
    )
    return b"".join(parts)


def permit2_allowance_call(owner: str, token: str, spender: str) -> bytes:
    """Return the calldata of ``allowance``: amount, expiration, nonce."""
    return _ALLOWANCE + address_word(owner) + address_word(token) + address_word(spender)


def permit2_approve_call(token: str, spender: str, amount: int, expiration: int) -> bytes:
    """Return the calldata of ``approve``, which the payer sends in place of signing a permit."""
    return _APPROVE + address_word(token) + address_word(spender) + _word(amount) + _word(min(expiration, MAX_UINT48))


def _encode_details(token: str, permit: Permit) -> bytes:
    words = (permit.amount, unix_seconds(permit.expiration), permit.nonce)
    return address_word(token) + b"".join(map(_word, words))


def _word(value: int) -> bytes:
    return value.to_bytes(WORD, "big")
