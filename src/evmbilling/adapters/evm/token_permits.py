"""ERC-2612 permits for configured calls: what the payer signs in place of an approval, and where it goes in.

A token's domain is its own business: USDC calls itself "USD Coin" on one chain and "USDC" on another. So it is read
from the token and compared with its ``DOMAIN_SEPARATOR`` before anybody signs.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import field, frozen
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak
from msgspec import Raw

from evmbilling.adapters.evm.bindings import binding_of, order_values
from evmbilling.adapters.evm.calldata import SIGNATURE_BYTES, selector
from evmbilling.adapters.evm.instructions import is_revert, read_answer, view
from evmbilling.adapters.evm.pinned import ask_now
from evmbilling.adapters.evm.rpc import JsonRpc
from evmbilling.adapters.evm.typed_data import address_word, listed, type_string, unix_seconds
from evmbilling.adapters.evm.verification import is_key_signature
from evmbilling.domain.catalogue import PaymentContract
from evmbilling.domain.offers import WalletPayload
from evmbilling.domain.orders import Order
from evmbilling.errors import ChainMismatch, ChallengeRefused, Conflict, RpcRefused

_FIELDS: Final = (
    ("owner", "address"),
    ("spender", "address"),
    ("value", "uint256"),
    ("nonce", "uint256"),
    ("deadline", "uint256"),
)
_DOMAIN: Final = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)
_TYPEHASH: Final = keccak(type_string("Permit", _FIELDS))
_DOMAIN_TYPEHASH: Final = keccak(type_string("EIP712Domain", _DOMAIN))
_NAME: Final = selector("name()")
_VERSION: Final = selector("version()")
_NONCES: Final = selector("nonces(address)")
_SEPARATOR: Final = selector("DOMAIN_SEPARATOR()")
_WORD: Final = 32
_EARLIER: Final = ("1", "2")
"""Versions of tokens that do not tell theirs."""


@frozen(kw_only=True)
class TokenPermit:
    """A permit that a payer can sign now.

    Attributes:
        typed_data: EIP-712 as JSON values. digest: the 32 bytes that are signed.

    """

    typed_data: dict[str, Any] = field(repr=False)
    digest: bytes = field(repr=False)


def ask_permit(rpc: JsonRpc, order: Order, contract: PaymentContract) -> TokenPermit:
    """Ask the token for what a payer has to sign, all as of one block.

    Raises:
        Conflict: the binding has no call with a permit, or the token takes none.
        ChainMismatch: the token's domain is not the one of its ``DOMAIN_SEPARATOR``.
        ProviderError: no node answered.

    """
    spender, amount = _allowed(order, contract)
    token = order.asset.token
    questions = (_NAME, _VERSION, _NONCES + address_word(order.wallet), _SEPARATOR)
    name, version, nonce, separator = map(_answer, ask_now(rpc, [view(token, question) for question in questions]))
    if len(nonce) != _WORD or len(separator) != _WORD:
        raise Conflict("this token takes no permits", field="asset")
    domain = _domain(order, _text(name), _text(version), separator)
    deadline = unix_seconds(order.deadline)
    numbers = [amount, int.from_bytes(nonce, "big"), deadline]
    words = [address_word(order.wallet), address_word(spender), *(n.to_bytes(_WORD, "big") for n in numbers)]
    message = {
        "owner": order.wallet,
        "spender": spender,
        "value": str(numbers[0]),
        "nonce": str(numbers[1]),
        "deadline": str(deadline),
    }
    return TokenPermit(
        typed_data={
            "types": {"EIP712Domain": listed(_DOMAIN), "Permit": listed(_FIELDS)},
            "primaryType": "Permit",
            "domain": domain,
            "message": message,
        },
        digest=bytes(keccak(b"\x19\x01" + separator + keccak(_TYPEHASH + b"".join(words)))),
    )


def permitted_payload(rpc: JsonRpc, order: Order, contract: PaymentContract, signature: bytes) -> WalletPayload:
    """Return the call that pays with a permit, the payer's signature in its place.

    Raises:
        ChallengeRefused: it is not the payer's key's signature of the permit as the token wants it now.
        Conflict, ChainMismatch, ProviderError: as :func:`ask_permit`.

    """
    permit = ask_permit(rpc, order, contract)
    if len(signature) != SIGNATURE_BYTES or not is_key_signature(order.wallet, permit.digest, signature):
        raise ChallengeRefused("this is not the wallet's signature of the permit; ask for it again", field="signature")
    call = binding_of(contract).permit
    if call is None:
        raise Conflict("this contract takes no permits", field="permit_method")
    values = {
        **order_values(order),
        "permit_signature": signature,
        "permit_r": signature[:32],
        "permit_s": signature[32:64],
        "permit_v": signature[64],
    }
    return WalletPayload(chain_id=order.chain_id, to=order.contract, value=0, data=call.encode(values), gas=order.gas)


def _allowed(order: Order, contract: PaymentContract) -> tuple[str, int]:
    call = binding_of(contract).permit
    approval = call.approval(order_values(order)) if call is not None and not order.asset.is_native else None
    if approval is None or contract.address != order.contract:
        raise Conflict("this contract takes no permits for this order", field="permit_method")
    return approval


def _domain(order: Order, name: str, told: str, separator: bytes) -> dict[str, Any]:
    """Return the domain whose separator is the token's own."""
    for version in dict.fromkeys((told, *_EARLIER)):
        parts = (name.encode(), version.encode())
        tail = order.chain_id.to_bytes(_WORD, "big") + address_word(order.asset.token)
        if keccak(_DOMAIN_TYPEHASH + b"".join(map(keccak, parts)) + tail) == separator:
            return {
                "name": name,
                "version": version,
                "chainId": order.chain_id,
                "verifyingContract": order.asset.token,
            }
    raise ChainMismatch("the token's domain is not the one of its DOMAIN_SEPARATOR")


def _answer(answer: Raw | RpcRefused) -> bytes:
    return b"" if is_revert(answer) else read_answer(answer)


def _text(octets: bytes) -> str:
    try:
        found: str = decode(["string"], octets)[0]
    except (DecodingError, UnicodeDecodeError, OverflowError):
        return ""
    return found
