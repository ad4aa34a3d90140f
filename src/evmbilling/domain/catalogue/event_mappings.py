"""What the events of a contract mean that we have never seen: which one says that something was paid, and by whom.

A mapping is plain data, as an administrator writes it down::

    {"event": "Subscribed", "means": "paid", "payer": "buyer", "money": "transfer", "match": "payer"}

A part of it (``payer``, ``amount``, …) names a field of the event, by a path where it is inside a tuple
(``order.amount``), or is a constant: ``{"const": "0x…"}``. What an event does not say is never made up: money in a
token is always what the token's own ``Transfer`` in the same transaction moved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal, get_args

from attrs import field as attribute
from attrs import frozen

from evmbilling.domain.addresses import NATIVE_COIN, ZERO_ADDRESS, parse_address
from evmbilling.domain.money import parse_base_units
from evmbilling.domain.strict_json import parse_strict
from evmbilling.errors import InputError

Meaning = Literal[
    "paid",
    "renewed",
    "refunded",
    "membership_started",
    "membership_extended",
    "membership_ended",
    "mandate_given",
    "mandate_revoked",
]
MatchBy = Literal["reference", "payer", "token_id"]
"""How the order is found: it is named, or it is the one open order of the payer or of the membership's token."""
Money = Literal["event", "transfer", "transfers"]

MEANINGS: Final[tuple[Meaning, ...]] = get_args(Meaning)
PAYING: Final = frozenset({"paid", "renewed"})
"""Both are money for an order; which period it pays is the order's to say."""
PARTS: Final = (
    *("reference", "payer", "beneficiary", "token", "amount", "treasury"),
    *("expiry", "token_id", "mandate", "refund_id"),
)
ADDRESS_PARTS: Final = frozenset({"payer", "beneficiary", "token", "treasury"})
NUMBER_PARTS: Final = frozenset({"amount", "expiry", "token_id"})
HASH_PARTS: Final = frozenset({"reference", "mandate", "refund_id"})
_CONSTANTS: Final = frozenset({"beneficiary", "token", "amount", "treasury"})
"""Parts that can be the same in every event; a constant payer would make everybody's money one person's."""
_KEYS: Final = frozenset({"event", "means", "match", "money", "when", *PARTS})
_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "refunded": ("beneficiary", "token", "amount"),
    "membership_ended": ("token_id",),
    "mandate_given": ("mandate", "payer"),
    "mandate_revoked": ("mandate", "payer"),
}
_MOST: Final = 32
_LONGEST: Final = 512


@frozen
class FieldPath:
    """A field of an event, by its name and the names of members inside tuples: ``("order", "amount")``."""

    steps: tuple[str, ...]

    def __str__(self) -> str:
        return ".".join(self.steps)


@frozen
class Constant:
    """What every event of a kind means without saying it: an address (EIP-55), or a whole number."""

    value: str | int


Part = FieldPath | Constant


@frozen(kw_only=True)
class EventMapping:
    """What one event means.

    Attributes:
        event: its name, or its full signature where the name is overloaded.
        match: how the order of a payment is found; None for what is no payment.
        money: whether the event says how much was paid, or the token's own transfer alone does, or all its transfers to
            the treasury in the transaction together, less what left it again.
        parts: (name, where it is) pairs, sorted; names of :data:`PARTS`.
        when: (field, value) pairs: it means this only where these fields hold these values, as an NFT's transfer is a
            mint only from nobody.

    """

    event: str
    means: Meaning
    match: MatchBy | None = None
    money: Money = "event"
    parts: tuple[tuple[str, Part], ...] = attribute(default=())
    when: tuple[tuple[FieldPath, str | int | bool], ...] = attribute(default=())

    def part(self, name: str) -> Part | None:
        """Return where a part is; None when the event does not have it."""
        return dict(self.parts).get(name)

    @property
    def is_paying(self) -> bool:
        """Whether it says that money came for an order."""
        return self.means in PAYING


def parse_mappings(value: object, *, field: str) -> tuple[EventMapping, ...]:
    """Read what a contract's events mean, from plain data or from its JSON.

    Raises:
        InputError: anything that is no mapping, or one that leaves open what it means; names the place
            (``events[1].amount``).

    """
    given = _read_json(value, field) if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or len(given) > _MOST:
        raise InputError(f"a list of at most {_MOST} events is expected", field=field)
    found = tuple(_mapping(item, f"{field}[{at}]") for at, item in enumerate(given))
    if not any(mapping.is_paying for mapping in found):
        raise InputError("no event means that something was paid", field=field)
    return found


@lru_cache(maxsize=256)
def mappings_of(text: str) -> tuple[EventMapping, ...]:
    """Return the mappings behind stored JSON; they were checked when they were saved."""
    return parse_mappings(text, field="events")


def mappings_json(mappings: tuple[EventMapping, ...]) -> str:
    """Return mappings as canonical JSON."""
    return json.dumps([_plain(m) for m in mappings], sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _read_json(text: str, field: str) -> object:
    try:
        return parse_strict(text)
    except ValueError:
        raise InputError("a list of events is expected, or the JSON of one", field=field) from None


def _mapping(given: object, path: str) -> EventMapping:
    if not isinstance(given, Mapping) or not {"event", "means"} <= set(given):
        raise InputError("an event has a name and a meaning: event, means", field=path)
    for name in given:
        if name not in _KEYS:
            raise InputError(f"an event has no such part; there are {', '.join(sorted(_KEYS))}", field=f"{path}.{name}")
    event, means = given["event"], given["means"]
    if not isinstance(event, str) or not event.isprintable() or not 1 <= len(event) <= _LONGEST:
        raise InputError("an event is named, or written as its signature", field=f"{path}.event")
    if means not in MEANINGS:
        raise InputError(f"an event means one of {', '.join(MEANINGS)}", field=f"{path}.means")
    parts = {name: _part(name, given[name], f"{path}.{name}") for name in PARTS if given.get(name) is not None}
    for name in _NEEDED.get(means, ()):
        if name not in parts:
            raise InputError(f"an event that means {means} says {name}", field=f"{path}.{name}")
    if means == "refunded" and not {"refund_id", "reference"} & set(parts):
        raise InputError("an event that means refunded says the refund or its order", field=f"{path}.refund_id")
    made = EventMapping(
        event=event,
        means=means,
        match=_match(given, parts, path) if means in PAYING else None,
        money=_money(given, path),
        parts=tuple(sorted(parts.items())),
        when=_when(given.get("when", {}), f"{path}.when"),
    )
    if made.is_paying:
        _check_money(made, path)
    return made


def _part(name: str, given: object, path: str) -> Part:
    if isinstance(given, str):
        steps = tuple(given.split("."))
        if not given.isprintable() or len(given) > _LONGEST or not all(steps):
            raise InputError("a field is named, with dots into tuples", field=path)
        return FieldPath(steps)
    if not isinstance(given, Mapping) or set(given) != {"const"}:
        raise InputError('a part is the name of a field, or {"const": value}', field=path)
    if name not in _CONSTANTS:
        raise InputError("this part differs from event to event and cannot be a constant", field=path)
    if name in NUMBER_PARTS:
        return Constant(parse_base_units(given["const"], field=path))
    if name == "token" and given["const"] in (ZERO_ADDRESS, "native"):
        return Constant(NATIVE_COIN)
    return Constant(parse_address(given["const"], field=path))


def _when(given: object, path: str) -> tuple[tuple[FieldPath, str | int | bool], ...]:
    if not isinstance(given, Mapping) or len(given) > len(PARTS):
        raise InputError("a condition names fields and their values", field=path)
    found: list[tuple[FieldPath, str | int | bool]] = []
    for name in sorted(given, key=str):
        value, where = given[name], f"{path}.{name}"
        part = _part("reference", name, where)
        if not isinstance(part, FieldPath) or not isinstance(value, str | int) or len(str(value)) > _LONGEST:
            raise InputError("a field holds a text, a whole number, true or false", field=where)
        found.append((part, value))
    return tuple(found)


def _match(given: Mapping[str, Any], parts: Mapping[str, Part], path: str) -> MatchBy:
    """How the order is found; a reference is the rule where the event has one."""
    rule = given.get("match", "reference" if "reference" in parts else None)
    if rule is None:
        raise InputError(
            "this event has no reference: say how its order is found, match: payer or token_id", field=f"{path}.match"
        )
    if rule not in ("reference", "payer", "token_id"):
        raise InputError("an order is found by reference, payer or token_id", field=f"{path}.match")
    by_transfer = rule == "payer" and given.get("money") in ("transfer", "transfers")
    if rule not in parts and not by_transfer:
        raise InputError(f"orders are found by {rule}, which this event does not say", field=f"{path}.{rule}")
    return rule  # type: ignore[no-any-return]  # compared with the three words


def _money(given: Mapping[str, Any], path: str) -> Money:
    money = given.get("money", "event")
    if money not in ("event", "transfer", "transfers"):
        raise InputError("event or transfer says what came, or all transfers", field=f"{path}.money")
    return money  # type: ignore[no-any-return]  # compared with the three words


def _check_money(mapping: EventMapping, path: str) -> None:
    """The amount is said by the event or by the transfer, and never by nobody."""
    token = mapping.part("token")
    is_native = token == Constant(NATIVE_COIN)
    if mapping.money != "event":
        if is_native:
            raise InputError("the native coin has no transfer that could say how much came", field=f"{path}.money")
        return
    if mapping.part("amount") is None:
        raise InputError("the event says the amount, or money is transfer", field=f"{path}.amount")
    if token is None:
        raise InputError("the event says the token, or a constant does, or money is transfer", field=f"{path}.token")
    if is_native and (mapping.part("treasury") is None or mapping.part("payer") is None):
        name = "treasury" if mapping.part("treasury") is None else "payer"
        raise InputError(f"nothing but the event can say the {name} of the native coin", field=f"{path}.{name}")


def _plain(mapping: EventMapping) -> dict[str, Any]:
    data: dict[str, Any] = {"event": mapping.event, "means": mapping.means}
    if mapping.match is not None:
        data["match"] = mapping.match
    if mapping.money != "event":
        data["money"] = mapping.money
    if mapping.when:
        data["when"] = {str(name): value for name, value in mapping.when}
    for name, part in mapping.parts:
        data[name] = str(part) if isinstance(part, FieldPath) else {"const": _constant(part)}
    return data


def _constant(part: Constant) -> str:
    return "native" if part.value == NATIVE_COIN else str(part.value)
