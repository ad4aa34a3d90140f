"""Strict reading of JSON-RPC hex (Ethereum execution-apis): what is not exactly right is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from evmbilling.domain.addresses import checksum

_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}", re.ASCII)
_HASH_BYTES: Final = 32
HASH_TEXT: Final = 66
"""Characters of 32 bytes as text."""
_ADDRESS_BYTES: Final = 20


def read_quantity(text: str | None) -> int:
    """Read a number.

    Raises:
        ValueError: not ``0x`` and 1 to 64 hex digits.

    """
    if text is None or not _QUANTITY.fullmatch(text):
        raise ValueError("a quantity is 0x and 1 to 64 hex digits")
    return int(text, 16)


def read_bytes(text: str | None) -> bytes:
    """Read bytes of any length.

    Raises:
        ValueError: not ``0x`` and an even number of hex digits.

    """
    if text is None or not text.startswith("0x"):
        raise ValueError("bytes begin with 0x")
    value = bytes.fromhex(text[2:])
    if 2 * len(value) + 2 != len(text):  # fromhex passes over blanks
        raise ValueError("bytes are 0x and hex digits only")
    return value


def read_hash(text: str | None) -> bytes:
    """Read 32 bytes.

    Raises:
        ValueError: anything else.

    """
    if text is None or len(text) != HASH_TEXT or text[:2] != "0x":
        raise ValueError("a hash is 0x and 64 hex digits")
    value = bytes.fromhex(text[2:])
    if len(value) != _HASH_BYTES:  # fromhex passes over blanks
        raise ValueError("a hash is 32 bytes")
    return value


@lru_cache(maxsize=8192)
def read_address(text: str | None) -> str:
    """Read 20 bytes, in any case, as an EIP-55 address.

    Raises:
        ValueError: anything else.

    """
    value = read_bytes(text)
    if len(value) != _ADDRESS_BYTES:
        raise ValueError("an address is 20 bytes")
    return checksum(value)


def read_timestamp(text: str | None) -> datetime:
    """Read a block's time.

    Raises:
        ValueError: no quantity, or a date beyond the calendar.

    """
    try:
        return datetime.fromtimestamp(read_quantity(text), UTC)
    except (OverflowError, OSError):
        raise ValueError("a timestamp is in seconds") from None


def to_hex(value: bytes) -> str:
    """Write bytes."""
    return "0x" + value.hex()
