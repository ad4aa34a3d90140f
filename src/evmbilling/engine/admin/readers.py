"""Reading single values from an administrator: each reader returns an exact value or an error that names its field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from evmbilling.domain.identity import parse_opaque, parse_slug
from evmbilling.domain.money import parse_base_units
from evmbilling.domain.pairs import pairs
from evmbilling.errors import InputError

Reader = Callable[[Any], Any]


def whole(field: str, low: int, high: int) -> Reader:
    """Return a reader of whole numbers from ``low`` to ``high``."""

    def read(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise InputError(f"a whole number from {low} to {high} is expected", field=field)
        return value

    return read


def text(field: str, longest: int = 200) -> Reader:
    """Return a reader of one line of text without control characters."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not 1 <= len(value.strip()) <= longest or not value.isprintable():
            raise InputError(f"one line of 1 to {longest} printable characters is expected", field=field)
        return value

    return read


def flag(field: str) -> Reader:
    """Return a reader of True or False."""

    def read(value: object) -> bool:
        if not isinstance(value, bool):
            raise InputError("True or False is expected", field=field)
        return value

    return read


def optional(reader: Reader) -> Reader:
    """Return a reader that lets None pass."""
    return lambda value: None if value is None else reader(value)


def many(field: str, reader: Reader, *, at_least: int = 0) -> Reader:
    """Return a reader of a list whose items go through ``reader``; duplicates are refused."""

    def read(value: object) -> tuple[Any, ...]:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise InputError("a list is expected", field=field)
        items = tuple(reader(item) for item in value)
        if len(items) < at_least or len(set(items)) != len(items):
            raise InputError(f"at least {at_least} different items are expected", field=field)
        return items

    return read


def named_numbers(field: str, high: int) -> Reader:
    """Return a reader of a mapping from slugs to whole numbers."""

    def read(value: object) -> tuple[tuple[str, int], ...]:
        number = whole(field, 0, high)
        return pairs((parse_slug(k, field=field), number(v)) for k, v in named(field, value))

    return read


def named(field: str, value: object) -> list[tuple[Any, Any]]:
    """Read a mapping, or pairs that name nothing twice.

    Raises:
        InputError: neither.

    """
    rows = list(value.items()) if isinstance(value, Mapping) else value
    if not isinstance(rows, tuple | list) or not all(isinstance(row, tuple | list) and len(row) == 2 for row in rows):  # noqa: PLR2004  - pairs
        raise InputError("a mapping is expected", field=field)
    names = [str(name) for name, _ in rows]
    if len(set(names)) != len(names):
        raise InputError("every name stands once", field=field)
    return [(name, item) for name, item in rows]


def one_of(field: str, words: Sequence[str]) -> Reader:
    """Return a reader of one of some words."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise InputError(f"one of {', '.join(words)} is expected", field=field)
        return value

    return read


def slug(field: str) -> Reader:
    """Return a reader of slugs."""
    return lambda value: parse_slug(value, field=field)


def symbol_amounts(field: str) -> Reader:
    """Return a reader of a mapping from symbols to base units."""

    def read(value: object) -> tuple[tuple[str, int], ...]:
        return pairs(
            (parse_opaque(symbol, field=field, longest=32), parse_base_units(amount, field=field))
            for symbol, amount in named(field, value)
        )

    return read
