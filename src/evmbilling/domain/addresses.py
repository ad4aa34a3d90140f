"""EVM addresses: exact parsing and the EIP-55 checksum."""

from __future__ import annotations

import re

from evmbilling._keccak import keccak
from evmbilling.errors import InvalidAddress

ZERO_ADDRESS = "0x" + "0" * 40
NATIVE_COIN = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"
"""The placeholder that stands for a chain's native coin where a token address is expected."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_LARGE = bytes(0x20 if digit >= ord("8") else 0 for digit in range(256))
"""For each hex digit the bit that tells small letters from large ones, where the digit is 8 or more."""


def checksum(address: bytes) -> str:
    """Write 20 bytes as a mixed-case address (EIP-55)."""
    digits = address.hex().encode()
    # A letter is written large where the hash has a digit of 8 or more. Only letters have the bit 0x40.
    small = int.from_bytes(digits, "big")
    large = int.from_bytes(keccak(digits)[: len(address)].hex().encode().translate(_LARGE), "big")
    return "0x" + (small ^ (small >> 1 & large)).to_bytes(len(digits), "big").decode()


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
