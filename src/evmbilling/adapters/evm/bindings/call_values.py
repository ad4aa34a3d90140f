"""The values of a call, as their types: what an order fills in for placeholders, and what is the same in every call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from evmbilling.domain.addresses import parse_address
from evmbilling.errors import ConfigurationError, InputError

Values = Mapping[str, int | str | bytes]
"""What an order fills in, by placeholder: addresses and the plan as text, numbers, the reference as 32 bytes."""
Fill = Callable[[Values], Any]
_WHOLE: Final = re.compile(r"(u?)int([0-9]+)", re.ASCII)
_OCTETS: Final = re.compile(r"bytes([0-9]+)", re.ASCII)
_HEX: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*", re.ASCII)
_DIGITS: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,77})", re.ASCII)
_NUMBERS: Final = frozenset({"amount", "quantity", "deadline", "period_end", "subscription", "token_id"})
_ADDRESSES: Final = frozenset({"payer", "beneficiary", "treasury", "token", "contract", "zero_address", "receiver"})
_WIDEST: Final = 256
_UUID_BITS: Final = 128
_HASH_BYTES: Final = 32


def values_of(
    *,
    addresses: Mapping[str, str],
    numbers: Mapping[str, int],
    reference: bytes,
    plan: str,
    plan_digest: bytes,
) -> Values:
    """Put together what an order fills in."""
    if len(reference) != _HASH_BYTES:
        raise InputError("a reference has 32 bytes", field="reference")
    return {**addresses, **numbers, "reference": reference, "plan": plan, "plan_digest": plan_digest}


# -- what an order fills in


def placeholder_value(name: str, kind: str, path: str) -> Fill:
    """Return what makes the value of a parameter out of what an order fills in for a placeholder.

    Raises:
        InputError: the type cannot take it; from what is returned: the value does not fit.

    """
    make = _maker(name, kind)
    if make is None:
        raise InputError(f"{{{name}}} cannot be a {kind}", field=path)

    def fill(values: Values) -> Any:
        made = make(values)
        if type(made) is int:
            _check_range(made, kind, path)
        return made

    return fill


def _maker(name: str, kind: str) -> Fill | None:
    """Return how a placeholder becomes a value of a type; None where it cannot."""
    if name in _NUMBERS:
        return _number(name, kind)
    if name in ("reference", "refund_id"):
        return _reference(name, kind)
    if name in _ADDRESSES:
        return (lambda values: values[name]) if kind == "address" else None
    others: dict[tuple[str, str], Fill] = {
        ("empty_bytes", "bytes"): lambda _: b"",
        ("permit_v", "uint8"): lambda values: values["permit_v"],
        ("permit_r", "bytes32"): lambda values: values["permit_r"],
        ("permit_s", "bytes32"): lambda values: values["permit_s"],
        ("permit_signature", "bytes"): lambda values: values["permit_signature"],
        ("plan", "bytes32"): lambda values: values["plan_digest"],
        ("plan", "string"): lambda values: values["plan"],
    }
    return others.get((name, kind))


def _number(name: str, kind: str) -> Fill | None:
    whole = _WHOLE.fullmatch(kind)
    if whole is None:
        return None
    # A membership's number has 128 bits: in less, two of them could be one.
    narrow = name == "subscription" and int(whole[2]) - (not whole[1]) < _UUID_BITS
    return None if narrow else lambda values: int(values[name])


def _reference(name: str, kind: str) -> Fill | None:
    """Return how the 32 bytes of a reference are written; nothing shorter, so that no two orders share a name."""
    makers: dict[str, Fill] = {
        "bytes32": lambda values: values[name],
        "bytes": lambda values: values[name],
        "uint256": lambda values: int.from_bytes(values[name], "big"),  # type: ignore[arg-type]  # it is bytes
        "string": lambda values: reference_text(values[name]),  # type: ignore[arg-type]  # it is bytes
    }
    return makers.get(kind)


def reference_text(reference: bytes) -> str:
    """Return a reference as a parameter of type ``string`` holds it."""
    return "0x" + reference.hex()


# -- what is the same in every call


def exact_value(value: int | bool | str, kind: str, path: str) -> Any:
    """Return a literal as its type's value.

    Raises:
        InputError: it is none, or does not fit.

    """
    if kind == "bool":
        if not isinstance(value, bool):
            raise InputError("true or false is expected", field=path)
        return value
    if isinstance(value, bool):
        raise InputError(f"a {kind} is expected", field=path)
    if _WHOLE.fullmatch(kind):
        return _whole(value, kind, path)
    if not isinstance(value, str):
        raise InputError(f"a {kind} is written as text", field=path)
    if kind == "address":
        return parse_address(value, field=path, allow_zero=True)
    if kind == "string":
        return value
    return _octets(value, kind, path)


def _whole(value: int | str, kind: str, path: str) -> int:
    if isinstance(value, str):
        if not _DIGITS.fullmatch(value):
            raise InputError("a whole number is expected, or its digits as text", field=path)
        value = int(value)
    return _check_range(value, kind, path)


def _check_range(value: int, kind: str, path: str) -> int:
    whole = _WHOLE.fullmatch(kind)
    width = int(whole[2]) if whole else _WIDEST
    low, high = (0, 2**width) if whole is None or whole[1] else (-(2 ** (width - 1)), 2 ** (width - 1))
    if not low <= value < high:
        raise InputError(f"the value does not fit a {kind}", field=path)
    return value


def _octets(value: str, kind: str, path: str) -> bytes:
    if not _HEX.fullmatch(value):
        raise InputError("bytes are written as 0x and hex digits", field=path)
    octets, size = bytes.fromhex(value[2:]), _OCTETS.fullmatch(kind)
    if size is None and kind != "bytes":
        raise ConfigurationError(f"the type {kind} of the ABI is not known", field="abi")
    if size is not None and len(octets) != int(size[1]):
        raise InputError(f"{size[1]} bytes are expected, {len(octets)} are given", field=path)
    return octets
