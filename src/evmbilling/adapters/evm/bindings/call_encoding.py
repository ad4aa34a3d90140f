"""Call templates against an ABI: checked once, then encoded for every order (Solidity ABI specification)."""

from __future__ import annotations

from attrs import define, field, frozen
from eth_abi.abi import encode

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.types import AbiEntry, AbiType, find_entry
from evmbilling.adapters.evm.bindings.call_values import Fill, Values, exact_value, placeholder_value, reference_text
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
from evmbilling.errors import InputError


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
                octets = reference if kind == "bytes" else reference_text(reference).encode()
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
        return placeholder_value(argument.name, kind.name, path)
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
