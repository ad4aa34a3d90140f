"""Call templates against an ABI: checked once, then encoded for every order (Solidity ABI specification)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field, frozen
from eth_abi.abi import encode

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.types import AbiEntry, AbiType, find_entry
from evmbilling.domain.addresses import parse_address
from evmbilling.domain.catalogue.call_templates import (
    SIGNED,
    Approval,
    Argument,
    CallTemplate,
    Literal,
    Named,
    Placeholder,
    Scheme,
    Several,
    Signing,
)
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


@frozen
class CompiledCall:
    """A call that is ready to be filled in.

    Attributes:
        template: what it was made of.
        signature, selector: of the function.
        references: the types in which the order's reference is an argument.
        literals: the place and type of each argument that is the same in every call.
        addresses: the place of each argument that is an address, and what stands there.

    """

    template: CallTemplate
    signature: str
    selector: bytes = field(repr=False)
    references: tuple[str, ...]
    literals: tuple[tuple[str, str], ...] = field(repr=False)
    addresses: tuple[tuple[str, Placeholder | Literal], ...] = field(repr=False)
    _types: tuple[str, ...] = field(repr=False)
    _fills: tuple[Fill, ...] = field(repr=False)

    def encode(self, values: Values) -> bytes:
        """Return the calldata.

        Raises:
            InputError: a value of the order does not fit its parameter; names the argument's path.

        """
        return self.selector + bytes(encode(self._types, [fill(values) for fill in self._fills]))

    def value(self, values: Values) -> int:
        """Return the wei that are sent along."""
        return _amount(self.template.value, values)

    def approval(self, values: Values) -> tuple[str, int] | None:
        """Return who has to be allowed to take how many base units first; None for nobody."""
        return None if self.template.approve is None else _granted(self.template.approve, values)

    @property
    def takes_signature(self) -> bool:
        """Whether a payer's signature is an argument."""
        return bool(self.template.placeholders() & SIGNED)

    @property
    def names_token(self) -> bool:
        """Whether the contract's own number of the membership is an argument."""
        return "token_id" in self.template.placeholders()

    @property
    def scheme(self) -> Scheme | None:
        """What the payer signs for this call, a permit (ERC-2612) where that is not said; None for nothing."""
        if self.template.sign is not None:
            return self.template.sign.scheme
        return "erc2612" if self.takes_signature else None

    def signed(self, values: Values) -> tuple[str, int] | None:
        """Return whom the payer's signature lets have how many base units; None where nothing is signed."""
        if self.template.sign is not None:
            return _granted(self.template.sign, values)
        return self.approval(values) if self.takes_signature else None

    def mark(self, reference: bytes) -> bytes:
        """Return the hash by which an indexed dynamic field names the reference; empty when no argument is dynamic."""
        for kind in self.references:
            if kind in ("bytes", "string"):
                octets = reference if kind == "bytes" else _reference_text(reference).encode()
                return keccak(octets)
        return b""


@define
class _Found:
    """What stands in the arguments of a call: types of references, places and types of literals, and addresses."""

    references: list[str] = field(factory=list)
    literals: list[tuple[str, str]] = field(factory=list)
    addresses: list[tuple[str, Placeholder | Literal]] = field(factory=list)


def compile_call(template: CallTemplate, abi: str, *, path: str) -> CompiledCall:
    """Check a template against an ABI.

    Args:
        template: the call.
        abi: canonical JSON.
        path: what the template is called in errors: ``mint_method``.

    Raises:
        InputError: an unknown method or an ambiguous name, the wrong number of arguments, one that its parameter cannot
            take, money for a function that takes none; names the place.

    """
    entry = find_entry(abi, "function", template.method, path=f"{path}.method")
    if len(template.args) != len(entry.inputs):
        wanted = f"{entry.signature} takes {len(entry.inputs)} arguments"
        raise InputError(f"{wanted}, {len(template.args)} are given", field=f"{path}.args")
    _check_money(template, entry, path)
    found = _Found()
    fills = tuple(
        _fill(argument, kind, f"{path}.args[{at}]", found)
        for at, (argument, (_, kind)) in enumerate(zip(template.args, entry.inputs, strict=True))
    )
    return CompiledCall(
        template=template,
        signature=entry.signature,
        selector=keccak(entry.signature.encode())[:4],
        references=tuple(found.references),
        literals=tuple(found.literals),
        addresses=tuple(found.addresses),
        types=tuple(kind.name for _, kind in entry.inputs),
        fills=fills,
    )


def _check_money(template: CallTemplate, entry: AbiEntry, path: str) -> None:
    if template.value != Literal(0) and not entry.payable:
        raise InputError(f"{entry.signature} takes no native coin", field=f"{path}.value")
    for name, given in (("approve", template.approve), ("sign", template.sign)):
        if given is not None and isinstance(given.spender, Literal):
            parse_address(given.spender.value, field=f"{path}.{name}.spender")


def _granted(given: Approval | Signing, values: Values) -> tuple[str, int]:
    spender = given.spender
    named = values[spender.name] if isinstance(spender, Placeholder) else spender.value
    return str(named), _amount(given.amount, values)


def _amount(given: Placeholder | Literal, values: Values) -> int:
    return int(values[given.name] if isinstance(given, Placeholder) else given.value)


def _fill(argument: Argument, kind: AbiType, path: str, found: _Found) -> Fill:
    """Return what makes the value of one parameter; ``found`` gets what stands there."""
    if isinstance(argument, Several) and kind.item is not None:
        return _array(argument, kind, kind.item, path, found)
    if isinstance(argument, Several | Named) and kind.members is not None:
        return _tuple(argument, kind, path, found)
    if not kind.is_leaf or isinstance(argument, Several | Named):
        expected = "a list" if kind.item is not None else "the members of a tuple" if kind.members else "one value"
        raise InputError(f"{expected} is expected for {kind.name}", field=path)
    if kind.name == "address":
        found.addresses.append((path, argument))
    if isinstance(argument, Placeholder):
        if argument.name == "reference":
            found.references.append(kind.name)
        return _placeholder(argument.name, kind.name, path)
    found.literals.append((path, kind.name))
    exact = exact_value(argument.value, kind.name, path)
    return lambda _: exact


def fill_of(argument: Argument, kind: AbiType, path: str) -> Fill:
    """Return what makes the value of a type out of what an order fills in.

    Raises:
        InputError: the type cannot take it; names the path.

    """
    return _fill(argument, kind, path, _Found())


def _array(argument: Several, kind: AbiType, item_kind: AbiType, path: str, found: _Found) -> Fill:
    if kind.length is not None and len(argument.items) != kind.length:
        raise InputError(f"{kind.length} items are expected, {len(argument.items)} are given", field=path)
    fills = [_fill(item, item_kind, f"{path}[{at}]", found) for at, item in enumerate(argument.items)]
    return lambda values: [fill(values) for fill in fills]


def _tuple(argument: Several | Named, kind: AbiType, path: str, found: _Found) -> Fill:
    members = kind.members or ()
    if isinstance(argument, Named):
        given = dict(argument.items)
        names = [name for name, _ in members]
        if set(given) != set(names) or len(set(names)) != len(names):
            raise InputError(f"exactly the members {', '.join(names)} are expected", field=path)
        parts = [(given[name], kind, f"{path}.{name}") for name, kind in members]
    else:
        if len(argument.items) != len(members):
            raise InputError(f"{len(members)} members are expected, {len(argument.items)} are given", field=path)
        pairs = zip(argument.items, members, strict=True)
        parts = [(item, kind, f"{path}[{at}]") for at, (item, (_, kind)) in enumerate(pairs)]
    fills = [_fill(item, kind, where, found) for item, kind, where in parts]
    return lambda values: tuple(fill(values) for fill in fills)


# -- what an order fills in


def _placeholder(name: str, kind: str, path: str) -> Fill:
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
        "string": lambda values: _reference_text(values[name]),  # type: ignore[arg-type]  # it is bytes
    }
    return makers.get(kind)


def _reference_text(reference: bytes) -> str:
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
