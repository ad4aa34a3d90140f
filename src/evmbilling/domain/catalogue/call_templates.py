"""How a contract that we have never seen is called: a method, and arguments with places for what an order says.

A template is plain data, as an administrator writes it down::

    {
        "method": "subscribe((address,uint256,bytes32)[],bytes)",
        "args": [[{"who": "{beneficiary}", "amount": "{amount}", "ref": "{reference}"}], "{empty_bytes}"],
        "value": 0,
        "approve": {"spender": "{contract}", "amount": "{amount}"},
    }

A call that takes the payer's signature says what is signed: ``"sign": {"scheme": "erc3009_transfer", "spender":
"{treasury}", "amount": "{amount}"}``.

This module reads the data; whether it fits an ABI is for the provider to say, which speaks EVM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias
from typing import Literal as OneOf

from attrs import frozen

from evmbilling.domain.strict_json import parse_strict
from evmbilling.errors import InputError

PLACEHOLDERS: Final = (
    *("payer", "beneficiary", "treasury", "token", "contract", "zero_address"),
    *("amount", "quantity", "deadline", "period_end", "reference", "subscription", "token_id", "plan", "empty_bytes"),
    *("permit_v", "permit_r", "permit_s", "permit_signature", "refund_id", "receiver"),
)
"""What an order fills in. ``contract`` is the bound contract itself; ``period_end`` and ``deadline`` are Unix seconds,
``subscription`` is the membership's number, ``token_id`` the one that the contract gave it when it was first paid,
``amount`` counts base units. Those of a permit are the payer's signature,
in a call that takes one; ``refund_id`` and ``receiver`` are a refund's, in the call that gives money back."""
REFUND: Final = frozenset({"refund_id", "receiver"})
SIGNED: Final = frozenset({"permit_v", "permit_r", "permit_s", "permit_signature"})
Scheme: TypeAlias = OneOf["erc2612", "erc3009_transfer", "erc3009_receive", "permit2_transfer", "permit2_witness"]
"""What a payer signs: an allowance (ERC-2612), a transfer that anybody may send or only the payee (ERC-3009), a
transfer for a spender by Permit2's SignatureTransfer, alone or with a witness."""
SCHEMES: Final[tuple[Scheme, ...]] = (
    *("erc2612", "erc3009_transfer", "erc3009_receive"),
    *("permit2_transfer", "permit2_witness"),
)
_AMOUNTS: Final = ("amount", "quantity")
_ADDRESSES: Final = ("contract", "treasury", "token", "beneficiary")
DEEPEST: Final = 8
_MOST_ITEMS: Final = 256
_LONGEST_TEXT: Final = 4096
_LONGEST_METHOD: Final = 1024
_KEYS: Final = frozenset({"method", "args", "value", "approve", "sign"})


@frozen
class Placeholder:
    """A place that an order fills in; one of :data:`PLACEHOLDERS`."""

    name: str


@frozen
class Literal:
    """A value that is the same in every call: a whole number, a flag, or text (also addresses, bytes and digits)."""

    value: int | bool | str


@frozen
class Several:
    """Arguments in their order: an array, or a tuple by place."""

    items: tuple[Argument, ...]


@frozen
class Named:
    """The members of a tuple by their names."""

    items: tuple[tuple[str, Argument], ...]


Argument: TypeAlias = Placeholder | Literal | Several | Named


@frozen(kw_only=True)
class Approval:
    """What the payer allows before the call: that ``spender`` may take ``amount`` base units of the order's token."""

    spender: Placeholder | Literal
    amount: Placeholder | Literal


@frozen(kw_only=True)
class Witness:
    """What a payer signs beside a transfer for Permit2: a struct of the contract's own.

    Attributes:
        type: as EIP-712 writes it: ``Purchase(bytes32 reference,address vault)``, without nested structs.
        values: one for each member.

    """

    type: str
    values: tuple[Placeholder | Literal, ...]


@frozen(kw_only=True)
class Signing:
    """What the payer signs for a call: that ``spender`` gets ``amount`` base units of the order's token, by a scheme.

    Attributes:
        scheme: one of :data:`SCHEMES`.
        spender: who may take the money, or whom ERC-3009 pays.
        witness: what the contract has signed with it, in the scheme ``permit2_witness``.

    """

    scheme: Scheme
    spender: Placeholder | Literal
    amount: Placeholder | Literal
    witness: Witness | None = None


@frozen(kw_only=True)
class CallTemplate:
    """One call.

    Attributes:
        method: the name of a function, or its full signature where the name is overloaded.
        args: one for each parameter.
        value: wei that are sent along: a whole number, or ``{amount}``.
        approve: what has to be allowed first, when a token pays; None for nothing.
        sign: what the payer signs, where the call takes a signature; None for nothing.

    """

    method: str
    args: tuple[Argument, ...]
    value: Placeholder | Literal = Literal(0)
    approve: Approval | None = None
    sign: Signing | None = None

    def placeholders(self) -> frozenset[str]:
        """Return the names of everything in the arguments that an order fills in."""
        return frozenset(name for argument in self.args for name in _names(argument))


def parse_template(value: object, *, field: str) -> CallTemplate:
    """Read a template from plain data, or from its JSON.

    Raises:
        InputError: anything that is no template; names the place (``mint_method.args[2].items[0]``).

    """
    given = _read_json(value, field) if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not {"method"} <= set(given) <= _KEYS:
        raise InputError("a call has a method, and may have args, value, approve and sign", field=field)
    method = given["method"]
    if not isinstance(method, str) or not method.isprintable() or not 1 <= len(method) <= _LONGEST_METHOD:
        raise InputError("a method is the name of a function, or its signature", field=f"{field}.method")
    args = given.get("args", ())
    if not isinstance(args, list | tuple):
        raise InputError("the arguments are a list", field=f"{field}.args")
    read = _argument(args, f"{field}.args", 0)
    return CallTemplate(
        method=method,
        args=read.items if isinstance(read, Several) else (),
        value=_number(given.get("value", 0), f"{field}.value"),
        approve=None if given.get("approve") is None else _approval(given["approve"], f"{field}.approve"),
        sign=None if given.get("sign") is None else _signing(given["sign"], f"{field}.sign"),
    )


@lru_cache(maxsize=256)
def template_of(text: str) -> CallTemplate:
    """Return the template behind stored JSON; it was checked when it was saved."""
    return parse_template(text, field="method")


def template_json(template: CallTemplate) -> str:
    """Return a template as canonical JSON: one text for one template."""
    data: dict[str, Any] = {"method": template.method, "args": [_plain(a) for a in template.args]}
    if template.value != Literal(0):
        data["value"] = _plain(template.value)
    if template.approve is not None:
        data["approve"] = _plain_sum(template.approve)
    if template.sign is not None:
        data["sign"] = {"scheme": template.sign.scheme, **_plain_sum(template.sign), **_plain_witness(template.sign)}
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _read_json(text: str, field: str) -> object:
    try:
        return parse_strict(text)
    except ValueError:
        raise InputError("a call is a mapping, or the JSON of one", field=field) from None


def _argument(value: object, path: str, depth: int) -> Argument:
    if depth > DEEPEST:
        raise InputError(f"arguments nest at most {DEEPEST} deep", field=path)
    if isinstance(value, str):
        return _word(value, path)
    if isinstance(value, bool | int):
        return Literal(value)
    if isinstance(value, Mapping):
        if len(value) > _MOST_ITEMS or not all(isinstance(name, str) and name for name in value):
            raise InputError("the members of a tuple have names", field=path)
        # Sorted, so that one template has one text; their order is the ABI's.
        return Named(tuple((name, _argument(value[name], f"{path}.{name}", depth + 1)) for name in sorted(value)))
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        if len(value) > _MOST_ITEMS:
            raise InputError(f"at most {_MOST_ITEMS} items are expected", field=path)
        return Several(tuple(_argument(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)))
    raise InputError("an argument is text, a whole number, true, false, a list or a mapping", field=path)


def _word(value: str, path: str) -> Placeholder | Literal:
    """Read text: ``{name}`` is a placeholder, ``{{`` at the beginning stands for one brace."""
    if len(value) > _LONGEST_TEXT or "\0" in value or not value == value.encode(errors="replace").decode():
        raise InputError(f"a text has at most {_LONGEST_TEXT} characters", field=path)
    if value.startswith("{{"):
        return Literal(value[1:])
    if not (value.startswith("{") and value.endswith("}")):
        return Literal(value)
    if value[1:-1] not in PLACEHOLDERS:
        known = ", ".join(sorted(PLACEHOLDERS))
        raise InputError(f"there is no such placeholder; there are {known}", field=path)
    return Placeholder(value[1:-1])


def _number(value: object, path: str) -> Placeholder | Literal:
    """Read an amount: a whole number (as digits, too), or a placeholder that counts something."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    found = _argument(value, path, 0)
    if isinstance(found, Placeholder) and found.name in _AMOUNTS:
        return found
    if isinstance(found, Literal) and type(found.value) is int and 0 <= found.value < 2**256:
        return found
    raise InputError("an amount is a whole number from 0 to 2**256 - 1, {amount} or {quantity}", field=path)


def _approval(value: object, path: str) -> Approval:
    if not isinstance(value, Mapping) or not set(value) <= {"spender", "amount"}:
        raise InputError("an approval has a spender and an amount", field=path)
    return Approval(spender=_spender(value, path), amount=_number(value.get("amount", "{amount}"), f"{path}.amount"))


def _signing(value: object, path: str) -> Signing:
    if not isinstance(value, Mapping) or not {"scheme"} <= set(value) <= {"scheme", "spender", "amount", "witness"}:
        raise InputError("what is signed has a scheme, a spender and an amount", field=path)
    if value["scheme"] not in SCHEMES:
        raise InputError(f"a payer signs by one of {', '.join(SCHEMES)}", field=f"{path}.scheme")
    return Signing(
        scheme=value["scheme"],
        spender=_spender(value, path),
        amount=_number(value.get("amount", "{amount}"), f"{path}.amount"),
        witness=_witness(value, f"{path}.witness"),
    )


def _witness(signing: Mapping[str, Any], path: str) -> Witness | None:
    given = signing.get("witness")
    if (given is None) != (signing["scheme"] != "permit2_witness"):
        raise InputError("a witness belongs to the scheme permit2_witness, and to no other", field=path)
    if given is None:
        return None
    if not isinstance(given, Mapping) or set(given) != {"type", "values"} or not isinstance(given["type"], str):
        raise InputError("a witness has a type, as EIP-712 writes it, and values", field=path)
    values = _argument(given["values"], f"{path}.values", 0)
    items = values.items if isinstance(values, Several) else ()
    plain = tuple(item for item in items if isinstance(item, Placeholder | Literal))
    if len(plain) != len(items) or len(given["type"]) > _LONGEST_METHOD:
        raise InputError("the values of a witness are a list of single values", field=f"{path}.values")
    return Witness(type=given["type"], values=plain)


def _spender(value: Mapping[str, object], path: str) -> Placeholder | Literal:
    spender = _argument(value.get("spender", "{contract}"), f"{path}.spender", 0)
    if not isinstance(spender, Literal | Placeholder) or (
        isinstance(spender, Placeholder) and spender.name not in _ADDRESSES
    ):
        raise InputError("a spender is an address or {contract}", field=f"{path}.spender")
    return spender


def _plain_sum(given: Approval | Signing) -> dict[str, Any]:
    return {"spender": _plain(given.spender), "amount": _plain(given.amount)}


def _plain_witness(given: Signing) -> dict[str, Any]:
    if given.witness is None:
        return {}
    return {"witness": {"type": given.witness.type, "values": [_plain(value) for value in given.witness.values]}}


def _plain(argument: Argument) -> Any:
    match argument:
        case Placeholder(name):
            return f"{{{name}}}"
        case Literal(str() as text):
            return "{" + text if text.startswith("{") else text
        case Literal(value):
            return value
        case Several(items):
            return [_plain(item) for item in items]
        case Named(items):
            return {name: _plain(item) for name, item in items}


def _names(argument: Argument) -> Sequence[str]:
    match argument:
        case Placeholder(name):
            return [name]
        case Several(items):
            return [name for item in items for name in _names(item)]
        case Named(items):
            return [name for _, item in items for name in _names(item)]
        case _:
            return []
