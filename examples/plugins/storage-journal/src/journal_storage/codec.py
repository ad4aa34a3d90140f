"""Decisions as JSON and back, exactly. Only records and words of ``evmbilling.domain`` are ever made from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any

import attrs

_HOME = "evmbilling.domain."


def dumps(value: Any) -> str:
    """Return any domain value as one line of JSON."""
    return json.dumps(_pack(value), separators=(",", ":"))


def loads(text: str) -> Any:
    """Return the value that a line stands for."""
    return _unpack(json.loads(text))


def _pack(value: Any) -> Any:  # noqa: PLR0911  - one line a kind of value
    if isinstance(value, Enum):
        return {"enum": _name(type(value)), "value": _pack(value.value)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, datetime):
        return {"instant": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, timedelta):
        return {"span": [value.days, value.seconds, value.microseconds]}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if attrs.has(type(value)):
        return {"record": _name(type(value)), "fields": {f.alias: _pack(getattr(value, f.name)) for f in _given(value)}}
    return _pack_many(value)


def _pack_many(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"tuple": [_pack(one) for one in value]}
    if isinstance(value, list):
        return [_pack(one) for one in value]
    if isinstance(value, frozenset):
        return {"set": [_pack(one) for one in value]}
    return {"map": [[_pack(key), _pack(one)] for key, one in value.items()]}


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(one) for one in value]
    if not isinstance(value, dict):
        return value
    kind = next(iter(value))
    held = value[kind]
    if kind == "record":
        return _find(held)(**{name: _unpack(one) for name, one in value["fields"].items()})
    if kind == "enum":
        return _find(held)(_unpack(value["value"]))
    return _READERS[kind](held)


_READERS: dict[str, Callable[[Any], Any]] = {
    "hex": bytes.fromhex,
    "instant": datetime.fromisoformat,
    "date": date.fromisoformat,
    "span": lambda parts: timedelta(*parts),
    "decimal": Decimal,
    "tuple": lambda items: tuple(_unpack(one) for one in items),
    "set": lambda items: frozenset(_unpack(one) for one in items),
    "map": lambda items: {_unpack(key): _unpack(one) for key, one in items},
}


def _given(value: Any) -> list[Any]:
    return [field for field in attrs.fields(type(value)) if field.init]


def _name(kind: type) -> str:
    if not kind.__module__.startswith(_HOME):
        raise TypeError(f"{kind.__name__} is no part of a decision")
    return f"{kind.__module__}:{kind.__qualname__}"


@cache
def _find(name: str) -> Any:
    module, _, kind = name.partition(":")
    found = getattr(import_module(module), kind) if module.startswith(_HOME) else None
    if not isinstance(found, type) or not (attrs.has(found) or issubclass(found, Enum)):
        raise ValueError(f"{name} is no record of evmbilling")
    return found
