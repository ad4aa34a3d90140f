"""EVM addresses: exact parsing and the EIP-55 checksum."""

from __future__ import annotations

import re

from eth_hash.auto import keccak

from evmbilling.errors import InvalidAddress

ZERO_ADDRESS = "0x" + "0" * 40
NATIVE_COIN = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"
"""The placeholder that stands for a chain's native coin where a token address is expected."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_PAIRS = tuple(
    (high.upper() if sizes & 2 else high) + (low.upper() if sizes & 1 else low)
    for high, low in ((f"{byte >> 4:x}", f"{byte & 15:x}") for byte in range(256))
    for sizes in range(4)
)
"""Each byte in its four spellings."""


def checksum(address: bytes) -> str:
    """Write 20 bytes as a mixed-case address (EIP-55)."""
    digest = keccak(address.hex().encode())
    # A digit is written large where the hash has a digit of 8 or more: two bits of each byte of the hash decide.
    return "0x" + "".join([_PAIRS[b << 2 | h >> 6 & 2 | h >> 3 & 1] for b, h in zip(address, digest, strict=False)])


def parse_address(value: object, *, field: str, allow_zero: bool = False) -> str:
    """Read an address and return its EIP-55 form.

    All-lower and all-upper digits carry no checksum and are accepted; mixed case must pass it.

    Raises:
        InvalidAddress: not exactly ``0x`` + 40 ASCII hex digits, a failed checksum, or the zero address.

    """
    if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
        raise InvalidAddress("an address is 0x followed by exactly 40 hex digits", field=field)
    digits = value[2:]
    canonical = checksum(bytes.fromhex(digits))
    if digits not in (digits.lower(), digits.upper()) and value != canonical:
        raise InvalidAddress("the mixed-case address fails its EIP-55 checksum", field=field)
    if not allow_zero and canonical == ZERO_ADDRESS:
        raise InvalidAddress("the zero address cannot be used", field=field)
    return canonical


def address_bytes(address: str) -> bytes:
    """Return the 20 bytes of an address that was parsed before."""
    return bytes.fromhex(address[2:])
