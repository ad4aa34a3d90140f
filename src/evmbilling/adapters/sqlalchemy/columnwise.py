"""Whole columns at once: the checks and conversions of the column types, for many rows in few steps.

A column that is plainly right is passed on as it is; one that has to be converted is converted once per distinct value.
In doubt each value takes the way of its type, which refuses what cannot be stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import repeat
from typing import TYPE_CHECKING, Any

from attrs import frozen

from evmbilling.adapters.sqlalchemy.types import Address, Flag, Octets, PlainText, Uint256, UtcInstant, Whole, Word
from evmbilling.adapters.sqlalchemy.values import ADDRESS_LENGTH, LARGEST

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

Column = Sequence[Any]
Convert = Callable[[Column], Column]

_NOTHING = type(None)
_64_BITS = 2**63


@frozen
class Same(Sequence[Any]):
    """A column in which every row has the same value: it is checked once, and SQLite is given it once."""

    value: Any
    rows: int

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Any]:
        return repeat(self.value, self.rows)

    def __getitem__(self, place: Any) -> Any:
        places = range(self.rows)[place]
        return Same(self.value, len(places)) if isinstance(place, slice) else self.value


def column_writer(kind: TypeEngine[Any], dialect: Dialect) -> Convert:
    """Return what turns a column of our values into what the driver is given.

    The function that is returned raises what the type raises for a value that it refuses.
    """
    write = _of_values(kind, dialect)
    return lambda values: Same(write([values.value])[0], len(values)) if isinstance(values, Same) else write(values)


def _of_values(kind: TypeEngine[Any], dialect: Dialect) -> Convert:
    write = kind.bind_processor(dialect)
    if write is None:
        return _as_it_is
    if isinstance(kind, Octets):
        return _when(_octets_of(kind.length), write)
    if isinstance(kind, UtcInstant | Uint256) and dialect.name != "postgresql":
        return _by_value({datetime, int}, write)
    if isinstance(kind, Flag):
        return _by_value({bool}, write)
    if isinstance(kind, Word):
        return _by_value(None, write)
    right = _addresses if isinstance(kind, Address) and not kind.letters else _RIGHT.get(type(kind))
    return _one_by_one(write) if right is None else _when(right, write)


def column_reader(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """Return what turns a column of the driver's answer into our values; None when they are the same."""
    read = kind.result_processor(dialect, None)
    if read is None:
        return None
    if isinstance(kind, UtcInstant):
        return _when(_all_utc, read) if dialect.name == "postgresql" else _by_value({str}, read)
    if isinstance(kind, Octets):
        return _when(_octets_of(None), read)
    return _one_by_one(read)


def _as_it_is(values: Column) -> Column:
    return values


def _one_by_one(convert: Callable[[Any], Any]) -> Convert:
    return lambda values: [convert(value) for value in values]


def _when(right: Callable[[Column], bool], convert: Callable[[Any], Any]) -> Convert:
    """Pass on a column that is plainly right."""

    def whole(values: Column) -> Column:
        return values if right(values) else [convert(value) for value in values]

    return whole


def _by_value(kinds: set[type] | None, convert: Callable[[Any], Any]) -> Convert:
    """Convert each distinct value once; equal values of other kinds (``True`` and 1) are kept apart."""

    def whole(values: Column) -> Column:
        if kinds is not None and not _kinds(values) <= kinds:
            return [convert(value) for value in values]
        known = {value: convert(value) for value in set(values)}
        return [known[value] for value in values]

    return whole


def _kinds(values: Column) -> set[type]:
    return set(map(type, values)) - {_NOTHING}


def _plain_texts(values: Column) -> bool:
    if not _kinds(values) <= {str}:
        return False
    together = "".join(filter(None, values))
    return together.isascii() and "\x00" not in together


def _addresses(values: Column) -> bool:
    told = [value for value in values if value is not None]
    return _plain_texts(values) and set(map(len, told)) <= {ADDRESS_LENGTH} and all(t.startswith("0x") for t in told)


def _whole_numbers(values: Column) -> bool:
    return _within(values, -_64_BITS, _64_BITS - 1)


def _amounts(values: Column) -> bool:
    return _within(values, 0, LARGEST)


def _within(values: Column, least: int, most: int) -> bool:
    if not _kinds(values) <= {int}:
        return False
    numbers = [value for value in values if value is not None]
    return not numbers or (min(numbers) >= least and max(numbers) <= most)


def _octets_of(length: int | None) -> Callable[[Column], bool]:
    def right(values: Column) -> bool:
        kinds = set(map(type, values))
        if kinds == {bytes}:
            return length is None or set(map(len, values)) == {length}
        if not kinds <= {bytes, _NOTHING}:
            return False
        return length is None or {len(value) for value in values if value is not None} <= {length}

    return right


def _all_utc(values: Column) -> bool:
    if not _kinds(values) <= {datetime}:
        return False
    return all(value.tzinfo is UTC for value in values if value is not None)


_RIGHT: dict[type, Callable[[Column], bool]] = {
    PlainText: _plain_texts,
    Address: _plain_texts,
    Whole: _whole_numbers,
    Uint256: _amounts,
    UtcInstant: _all_utc,
}
"""What the driver can be given as it is: for the types themselves, not for types made of them."""
