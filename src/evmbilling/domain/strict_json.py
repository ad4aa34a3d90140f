"""JSON from outside: bounded in depth, without NaN, without doubled keys."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from math import inf, isinf
from typing import Any

DEEPEST = 32
_LONGEST_NUMBER = 100
_DEEPER = {"[": 1, "{": 1, "]": -1, "}": -1}
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
"""A string that does not end reaches to the end: every character is looked at once."""


def parse_strict(text: str, *, deepest: int = DEEPEST) -> Any:
    """Parse JSON, refusing what parsers disagree about.

    Raises:
        ValueError: no JSON, nested deeper than ``deepest``, a key named twice, NaN, Infinity, a number that is too long
            or too large. The message says where and never repeats the text.

    """
    # Counted first: the parser would go on until the stack of the process ends.
    # Text that has so few brackets at all cannot nest deeper.
    if text.count("[") + text.count("{") > deepest and nesting(text) > deepest:
        raise ValueError("nested too deeply")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
    raise ValueError(where)


def nesting(text: str) -> int:
    """Count how deep brackets nest."""
    deepest = depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        depth += _DEEPER.get(found[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _no_duplicates(items: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(items)
    if len(made) != len(items):
        raise ValueError("an object names one key twice")
    return made


def _whole(digits: str) -> int:
    """Read a number of up to 100 digits: 2**256 has 78."""
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError("a number is too long")
    return int(digits)


def _fraction(digits: str) -> Any:
    """Read a fraction; one beyond every double (IEEE 754) is infinity to Python's parser, and an error to others."""
    value = json.loads(digits)
    try:
        Decimal(digits)
    except InvalidOperation:  # an exponent that not even a decimal holds
        value = inf
    if isinf(value):
        raise ValueError("a number is too large")
    return value


def _no_constant(_: str) -> None:
    raise ValueError("JSON has no NaN and no Infinity")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_int=_whole, parse_float=_fraction
)
