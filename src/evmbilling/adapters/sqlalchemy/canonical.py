"""JSON in columns: one text per value, so that the same answer is the same bytes on every database."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from evmbilling.adapters.sqlalchemy.values import write_text
from evmbilling.errors import InputError


def _refuse(value: object) -> NoReturn:
    raise InputError(f"JSON in storage holds no {type(value).__name__}")


def _refuse_number(text: str) -> NoReturn:
    raise InputError(f"stored JSON holds a number that is not whole: {text[:40]}")


# Made once: json.dumps and json.loads make new ones for options that are not the default.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_TEXT = {str}
_PLAIN = {str, int, bool, type(None)}
_NESTING = {*_PLAIN, dict, list, tuple}
_DECODER = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number)


def _check(value: object) -> None:
    if isinstance(value, str):
        write_text(value)
    elif value is None or isinstance(value, int):
        return
    elif isinstance(value, dict):
        for key, item in value.items():
            write_text(key)
            _check(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(item)
    else:
        _refuse(value)


def encode_json(value: object) -> str:
    """Write a value as canonical JSON: sorted keys, no spaces, ASCII only, no floats.

    Raises:
        InputError: a float, a key that is no text, or any other type.

    """
    if _is_plain(value):
        text = _ENCODER.encode(value)
        # What no column can hold is written with \\u, like everything that is not ASCII: only then it is looked for.
        if "\\u" not in text:
            return text
    _check(value)
    return _ENCODER.encode(value)


def _is_plain(value: Any) -> bool:
    """Whether a value is made of plain texts, whole numbers, flags and nulls in objects and lists, as most are."""
    kind = type(value)
    if kind is dict:
        if not set(map(type, value)) <= _TEXT:
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _PLAIN
    kinds = set(map(type, value))
    return kinds <= _PLAIN or (kinds <= _NESTING and all(map(_is_plain, value)))


def decode_json(text: str) -> Any:
    """Read what ``encode_json`` wrote.

    Raises:
        InputError: a fraction, an exponent, NaN or Infinity: somebody else wrote this.

    """
    return _DECODER.decode(text)
