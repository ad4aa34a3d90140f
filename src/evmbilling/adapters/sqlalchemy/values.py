"""Checks on values before a database can round, accept or reorder them."""

from __future__ import annotations

from datetime import UTC, datetime

from evmbilling.errors import InputError, InvalidAmount

LARGEST = 2**256 - 1
"""The largest uint256."""
ADDRESS_LENGTH = 42
_BIGINT = 2**63


def write_text(value: object) -> str:
    """Check a text: both databases must be able to hold it.

    Raises:
        InputError: no text, a NUL (PostgreSQL refuses it, SQLite keeps it), or a lone surrogate.

    """
    if not isinstance(value, str):
        raise InputError(f"a text was expected, not {type(value).__name__}")
    if "\x00" in value or not (value.isascii() or value.isprintable() or _encodes(value)):
        raise InputError("a text cannot hold NUL characters or lone surrogates")
    return str(value)


def write_address(value: object) -> str:
    """Check the form of an address, whatever its digits are.

    Raises:
        InputError: no text of ``0x`` and 40 characters, or none that databases hold.

    """
    text = write_text(value)
    if len(text) != ADDRESS_LENGTH or not text.startswith("0x"):
        raise InputError("an address is 0x and 40 hex digits")
    return text


def text_or_none(value: object) -> str | None:
    """Check a text, or nothing: as ``write_text``, the usual text in one step."""
    if type(value) is str and value.isascii() and "\x00" not in value:
        return value
    return None if value is None else write_text(value)


def _encodes(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_uint256(value: object) -> int:
    """Check an amount of base units before a database can round it (a float, 1.5) or accept it (NaN).

    Raises:
        InvalidAmount: anything but an ``int`` from 0 to 2**256 - 1; a ``bool`` and a ``Decimal`` are no ``int``.

    """
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise InvalidAmount
    return value


def write_whole(value: object) -> int:
    """Check a whole number that fits a signed 64-bit column.

    Raises:
        InputError: anything else; ``True`` is no number.

    """
    if type(value) is not int or not -_BIGINT <= value < _BIGINT:
        raise InputError("a whole number of at most 64 bits was expected")
    return value


def whole_or_none(value: object) -> int | None:
    """Check a whole number, or nothing: as ``write_whole``, the usual number in one step."""
    if type(value) is int and -_BIGINT <= value < _BIGINT:
        return value
    return None if value is None else write_whole(value)


def instant_or_none(value: object) -> datetime | None:
    """Check an instant, or nothing: as ``write_instant``, one in UTC in one step."""
    if type(value) is datetime and value.tzinfo is UTC:
        return value
    return None if value is None else write_instant(value)


def write_instant(value: object) -> datetime:
    """Check an instant and return it in UTC.

    Raises:
        InputError: no datetime, or one without a zone.

    """
    if type(value) is datetime and value.tzinfo is UTC:
        return value
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InputError("an instant carries its time zone")
    return value.astimezone(UTC)


def instant_text(value: object) -> str:
    """Write an instant as 27 characters whose text order is their time order."""
    return write_instant(value).isoformat(timespec="microseconds")[:-6] + "Z"  # instead of +00:00


def read_instant(value: datetime) -> datetime:
    """Return PostgreSQL's answer in UTC, whatever the session's zone is."""
    return value.astimezone(UTC)
