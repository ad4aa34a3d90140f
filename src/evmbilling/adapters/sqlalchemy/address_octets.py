"""Addresses as their 20 bytes: for rows of which so many are written that text and its check would be felt."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from evmbilling.adapters.sqlalchemy.types import Octets
from evmbilling.domain.addresses import address_bytes, checksum
from evmbilling.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Dialect

ADDRESS_BYTES = 20


class AddressOctets(Octets):
    """An EVM address in its 20 bytes; in Python it is EIP-55 text, as everywhere."""

    cache_ok = True

    def __init__(self) -> None:
        super().__init__(ADDRESS_BYTES)

    def writer(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002  - it is the same on both
        """Refuse what would not come back as it was."""
        return write_address

    def reader(self, dialect: Dialect) -> Callable[[Any], Any]:  # noqa: ARG002  - it is the same on both
        """Return the EIP-55 form."""
        return read_address


def write_address(value: object) -> bytes:
    """Return the bytes of an address.

    Raises:
        InputError: it is not in its EIP-55 form.

    """
    octets = _octets(value) if isinstance(value, str) else None
    if octets is None:
        raise InputError("an address in its EIP-55 form was expected")
    return octets


def read_address(value: bytes) -> str:
    """Return the address of these bytes."""
    return _text(bytes(value))


@lru_cache(maxsize=1024)
def _text(octets: bytes) -> str:
    return checksum(octets)


@lru_cache(maxsize=1024)
def _octets(text: str) -> bytes | None:
    """Return the bytes of a text that is an address in its EIP-55 form; None of any other."""
    try:
        octets = address_bytes(text)
    except ValueError:
        return None
    return octets if len(octets) == ADDRESS_BYTES and checksum(octets) == text else None
