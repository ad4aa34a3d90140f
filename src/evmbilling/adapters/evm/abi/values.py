"""Reading ABI-encoded values (Solidity ABI specification, "Formal Specification of the Encoding").

As strict as eth_abi: padding is zeros, a bool is 0 or 1, text is UTF-8. Beyond that, dynamic values lie one after the
other: two offsets that lead to the same bytes could make a short log endless work.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from attrs import frozen

from evmbilling.domain.addresses import checksum
from evmbilling.errors import ConfigurationError

WORD: Final = 32
_ADDRESSES_KEPT: Final = 1 << 16
_DEEPEST: Final = 8
_LONGEST_ARRAY: Final = 1024
_TYPE: Final = re.compile(r"([a-z]+)([0-9]*)", re.ASCII)
_ARRAY: Final = re.compile(r"(.*)\[([0-9]*)\]", re.ASCII | re.DOTALL)
_ALIASES: Final = {"uint": "uint256", "int": "int256", "byte": "bytes1", "function": "bytes24"}
_WIDTHS: Final = range(8, 257, 8)
_NO_HIGH_BYTES: Final = bytes(12)

Read = Callable[[bytes, int], Any]
"""``(data, place) -> value`` for a static value, ``(data, place) -> (value, where it ends)`` for a dynamic one."""


class Malformed(ValueError):
    """The bytes are no value of the type."""


@frozen(eq=False)
class Value:
    """How values of one type are read.

    Attributes:
        type: its canonical name, as signatures have it.
        size: bytes in the head: all of a static value, the offset of a dynamic one, the heads of a tuple.
        elementary: whether it is no array and no tuple.

    """

    type: str
    size: int
    dynamic: bool
    read: Read
    elementary: bool = False


def value_of(given: Mapping[str, Any]) -> Value:
    """Return how to read what an input of an ABI describes (``type`` and, for tuples, ``components``).

    Raises:
        ConfigurationError: an unknown or unreasonable type.

    """
    kind = given.get("type")
    if not isinstance(kind, str):
        raise ConfigurationError("an input of the ABI has no type", field="abi")
    return _parse(kind, given.get("components"), 0)


def _parse(kind: str, components: Any, depth: int) -> Value:
    if depth > _DEEPEST:
        raise ConfigurationError("a type of the ABI is nested too deeply", field="abi")
    array = _ARRAY.fullmatch(kind)
    if array:
        item = _parse(array[1], components, depth + 1)
        return _list_of(item) if not array[2] else _fixed_list_of(item, int(array[2]))
    if kind != "tuple":
        return leaf(kind)
    if not isinstance(components, Sequence) or not components:
        raise ConfigurationError("a tuple of the ABI has no components", field="abi")
    parts = [part if isinstance(part, Mapping) else {} for part in components]
    return tuple_of([_parse(str(part.get("type")), part.get("components"), depth + 1) for part in parts])


def leaf(kind: str) -> Value:
    """Return how to read an elementary type.

    Raises:
        ConfigurationError: there is no such type, or it is a fixed-point number, which no compiler emits.

    """
    name = _ALIASES.get(kind, kind)
    if name in ("string", "bytes"):
        return Value(name, WORD, dynamic=True, read=_text if name == "string" else _octets, elementary=True)
    read = _static(name)
    if read is None:
        raise ConfigurationError(f"the type {kind[:40]} of the ABI is not known", field="abi")
    return Value(name, WORD, dynamic=False, read=read, elementary=True)


def _static(name: str) -> Read | None:
    if name == "address":
        return _address
    if name == "bool":
        return _flag
    found = _TYPE.fullmatch(name)
    base, width = (found[1], int(found[2] or 0)) if found else ("", 0)
    is_whole = base in ("uint", "int") and width in _WIDTHS
    if is_whole and str(width) == name[len(base) :]:
        return _unsigned(width) if base == "uint" else _signed(width)
    if base == "bytes" and 1 <= width <= WORD and str(width) == name[len(base) :]:
        return _fixed_octets(width)
    return None


def tuple_of(values: Sequence[Value]) -> Value:
    """Return how to read several values that stand together."""
    kind = f"({','.join(value.type for value in values)})"
    size = sum(value.size if not value.dynamic else WORD for value in values)
    if not any(value.dynamic for value in values):
        return Value(kind, size, dynamic=False, read=_static_tuple(values))
    return Value(kind, size, dynamic=True, read=_dynamic_tuple(values, size))


def _static_tuple(values: Sequence[Value]) -> Read:
    parts = tuple((value.read, sum(before.size for before in values[:at])) for at, value in enumerate(values))
    return lambda data, place: tuple([read(data, place + at) for read, at in parts])


def _dynamic_tuple(values: Sequence[Value], size: int) -> Read:
    at, parts = 0, []
    for value in values:
        parts.append((value.read, at, value.dynamic))
        at += WORD if value.dynamic else value.size

    def read(data: bytes, place: int) -> tuple[Any, int]:
        end, found = place + size, []
        if end > len(data):
            raise Malformed
        for read_part, at, dynamic in parts:
            if dynamic:
                value, end = read_part(data, _follow(data, place + at, place, end))
            else:
                value = read_part(data, place + at)
            found.append(value)
        return tuple(found), end

    return read


def _follow(data: bytes, at: int, frame: int, end: int) -> int:
    """Return where the offset at a place leads: within the data, and after everything that was read before."""
    place = frame + int.from_bytes(data[at : at + WORD], "big")
    if not end <= place < len(data):
        raise Malformed
    return place


def _fixed_list_of(item: Value, length: int) -> Value:
    if not 1 <= length <= _LONGEST_ARRAY:
        raise ConfigurationError(f"an array of the ABI has 1 to {_LONGEST_ARRAY} elements", field="abi")
    whole = tuple_of([item] * length)
    return Value(f"{item.type}[{length}]", whole.size, dynamic=whole.dynamic, read=whole.read)


def _list_of(item: Value) -> Value:
    """An array of any length: its length, then its elements as a tuple of that many."""
    size, read_item = (WORD if item.dynamic else item.size), item.read

    def read(data: bytes, place: int) -> tuple[Any, int]:
        first = place + WORD
        length = _length(data, place)
        end = first + length * size
        if end > len(data):
            raise Malformed
        if not item.dynamic:
            return tuple([read_item(data, at) for at in range(first, end, size)]), end
        found = []
        for at in range(first, first + length * WORD, WORD):
            value, end = read_item(data, _follow(data, at, first, end))
            found.append(value)
        return tuple(found), end

    return Value(f"{item.type}[]", WORD, dynamic=True, read=read)


def _length(data: bytes, place: int) -> int:
    word = data[place : place + WORD]
    if len(word) != WORD:
        raise Malformed
    return int.from_bytes(word, "big")


def _octets(data: bytes, place: int) -> tuple[bytes, int]:
    length, first = _length(data, place), place + WORD
    end = first + (length + WORD - 1) // WORD * WORD
    if end > len(data) or data[first + length : end].strip(b"\0"):
        raise Malformed
    return data[first : first + length], end


def _text(data: bytes, place: int) -> tuple[str, int]:
    octets, end = _octets(data, place)
    return octets.decode(), end


@lru_cache(maxsize=_ADDRESSES_KEPT)
def _checksummed(word: bytes) -> str:
    if word[:12] != _NO_HIGH_BYTES:
        raise Malformed
    return checksum(word[12:])


def _address(data: bytes, place: int) -> str:
    return _checksummed(data[place : place + WORD])


def _flag(data: bytes, place: int) -> bool:
    number = int.from_bytes(data[place : place + WORD], "big")
    if number > 1:
        raise Malformed
    return number == 1


def _unsigned(width: int) -> Read:
    most = 1 << width

    def read(data: bytes, place: int) -> int:
        number = int.from_bytes(data[place : place + WORD], "big")
        if number >= most:
            raise Malformed
        return number

    return read


def _signed(width: int) -> Read:
    most = 1 << (width - 1)

    def read(data: bytes, place: int) -> int:
        number = int.from_bytes(data[place : place + WORD], "big", signed=True)
        if not -most <= number < most:
            raise Malformed
        return number

    return read


def _fixed_octets(width: int) -> Read:
    if width == WORD:
        return lambda data, place: data[place : place + WORD]
    rest = bytes(WORD - width)

    def read(data: bytes, place: int) -> bytes:
        if data[place + width : place + WORD] != rest:
            raise Malformed
        return data[place : place + width]

    return read
