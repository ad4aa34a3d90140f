"""The EIP-712 domain of a token.

It is the token's own business: USDC calls itself "USD Coin" on one chain and "USDC" on another. So it is read from the
token and compared with its ``DOMAIN_SEPARATOR`` before anybody signs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import field, frozen
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from msgspec import Raw

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.calldata import WORD, selector
from evmbilling.adapters.evm.paying.instructions import is_revert, read_answer, view
from evmbilling.adapters.evm.rpc.exchange import Call
from evmbilling.adapters.evm.signing.typed_data import DOMAIN_FIELDS, address_word, type_string
from evmbilling.domain.money import Asset
from evmbilling.errors import ChainMismatch, Conflict, RpcRefused

_TYPEHASH: Final = keccak(type_string("EIP712Domain", DOMAIN_FIELDS))
_NAME: Final = selector("name()")
_VERSION: Final = selector("version()")
_SEPARATOR: Final = selector("DOMAIN_SEPARATOR()")
_DOMAIN: Final = selector("eip712Domain()")
_DOMAIN_TYPES: Final = ("bytes1", "string", "string", "uint256", "address", "bytes32", "uint256[]")
_EARLIER: Final = ("1", "2")
"""Versions of tokens that do not tell theirs."""


@frozen(kw_only=True)
class TokenDomain:
    """What a token's typed data are signed for.

    Attributes:
        fields: name, version, chainId, verifyingContract. separator: the token's own 32 bytes.

    """

    fields: dict[str, Any] = field(repr=False)
    separator: bytes = field(repr=False)


def domain_questions(asset: Asset) -> list[Call]:
    """Return what a token is asked about its domain; :func:`read_domain` reads the answers."""
    return [view(asset.token, question) for question in (_NAME, _VERSION, _SEPARATOR, _DOMAIN)]


def read_domain(asset: Asset, answers: Sequence[Raw | RpcRefused]) -> TokenDomain:
    """Return the domain whose separator is the token's own: as ERC-5267 tells it, else by its name and version.

    Raises:
        Conflict: the token has none: nothing can be signed for it.
        ChainMismatch: what it tells of itself is not what its ``DOMAIN_SEPARATOR`` is made of.

    """
    name, version, separator, told = map(view_answer, answers)
    if len(separator) != WORD:
        raise Conflict("this token takes no permits", field="asset")
    for named, versioned in _candidates(_text(name), _text(version), told):
        hashes = keccak(named.encode()) + keccak(versioned.encode())
        tail = asset.chain_id.to_bytes(WORD, "big") + address_word(asset.token)
        if keccak(_TYPEHASH + hashes + tail) == separator:
            fields = {
                "name": named,
                "version": versioned,
                "chainId": asset.chain_id,
                "verifyingContract": asset.token,
            }
            return TokenDomain(fields=fields, separator=separator)
    raise ChainMismatch("the token's domain is not the one of its DOMAIN_SEPARATOR")


def view_answer(answer: Raw | RpcRefused) -> bytes:
    """Return what a contract answered; nothing where it refused.

    Raises:
        RpcRefused: the node refused, rather than the contract.

    """
    return b"" if is_revert(answer) else read_answer(answer)


def _candidates(name: str, version: str, told: bytes) -> Iterator[tuple[str, str]]:
    try:
        _, named, versioned, *_ = decode(_DOMAIN_TYPES, told)
        yield named, versioned
    except (DecodingError, UnicodeDecodeError, OverflowError):
        pass  # most tokens are older than ERC-5267
    for earlier in dict.fromkeys((version, *_EARLIER)):
        yield name, earlier


def _text(octets: bytes) -> str:
    try:
        found: str = decode(["string"], octets)[0]
    except (DecodingError, UnicodeDecodeError, OverflowError):
        return ""
    return found
