"""Event mappings against an ABI: checked once, then every log of the contract is read by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import evolve, field, frozen

from evmbilling.adapters.evm.abi.decoders import EventDecoder, Values, compile_event
from evmbilling.adapters.evm.abi.events import TRANSFER
from evmbilling.adapters.evm.abi.types import AbiEntry, AbiType, find_entry
from evmbilling.adapters.evm.bindings.call_values import exact_value
from evmbilling.domain.addresses import NATIVE_COIN, ZERO_ADDRESS
from evmbilling.domain.catalogue.event_mappings import (
    ADDRESS_PARTS,
    HASH_PARTS,
    NUMBER_PARTS,
    Constant,
    EventMapping,
    FieldPath,
    Part,
)
from evmbilling.domain.reading.evidence import ChainLog, Observation, ObservationKind
from evmbilling.errors import InputError

Take = Callable[[Values], Any]
Read = Callable[[Any], Any]
_HASH_BYTES: Final = 32
_TOKENS_OWN: Final = (TRANSFER, 3)
"""ERC-20's ``Transfer``; that of an NFT has a fourth topic."""
_KINDS: Final[dict[str, ObservationKind]] = {
    "paid": "payment",
    "renewed": "payment",
    "refunded": "refund",
    "membership_ended": "burn",
    "mandate_given": "mandate_given",
    "mandate_revoked": "mandate_revoked",
}
"""What moves something for us; a membership that starts or is extended on chain is only its view there."""


@frozen(eq=False)
class CompiledEvent:
    """One event and how its parts are taken.

    Attributes:
        mapping: what it was made of.
        decoder: reads its logs.
        reference_type: the type of the field that holds the reference; empty without one.
        by_hash: whether a topic holds the hash of that field only.

    """

    mapping: EventMapping
    decoder: EventDecoder
    reference_type: str
    by_hash: bool
    _takes: tuple[tuple[str, Take], ...] = field(repr=False)
    _when: tuple[tuple[Take, Any], ...] = field(repr=False)

    @property
    def shape(self) -> tuple[bytes, int]:
        """What tells its logs from others: the first topic and the number of topics."""
        return self.decoder.topic0, self.decoder.indexed + 1

    @property
    def needs_transfer(self) -> bool:
        """Whether it says nothing for us where no token moves from or to a treasury in the same transaction."""
        means, token = self.mapping.means, self.mapping.part("token")
        if means in ("membership_started", "membership_extended"):
            return True
        is_money = self.mapping.is_paying or means == "refunded"
        return is_money and (token is None or (isinstance(token, Constant) and token != Constant(NATIVE_COIN)))

    def read(self, log: ChainLog) -> Observation | None:
        """Return what a log says; None when it is not this event, says nothing for us, or names no order.

        The emitting contract is compared by the caller.
        """
        kind = _KINDS.get(self.mapping.means)
        values = self.decoder.decode(log.topics, log.data) if kind is not None else None
        if kind is None or values is None or any(take(values) != wanted for take, wanted in self._when):
            return None
        said = {name: take(values) for name, take in self._takes}
        if any(value is None for value in said.values()):
            return None
        seen = Observation(
            kind=kind,
            contract=log.address,
            reference=said.get("reference", b""),
            subscription=said.get("token_id"),
            payer=said.get("payer", ""),
            beneficiary=said.get("beneficiary", said.get("payer", "")),
            token=said.get("token", ""),
            amount=said.get("amount", 0),
            treasury=said.get("treasury", ""),
            refund_id=said.get("refund_id", b""),
            mandate=said.get("mandate", b""),
            log=log,
        )
        return (
            self._paying(seen)
            if self.mapping.is_paying
            else evolve(seen, rail="call" if kind == "refund" else seen.rail)
        )

    def _paying(self, seen: Observation) -> Observation | None:
        """Return a payment with how its order is found and who says what came; None for what was none."""
        matched = self.mapping.match or "reference"
        # Only what the rule looks at may name an order.
        reference = seen.reference if matched == "reference" else b""
        native = seen.token == NATIVE_COIN
        if self.mapping.part("amount") is not None and not seen.amount:
            return None  # it says itself that nothing was paid; what others move in its transaction is theirs
        if native and (self.mapping.money != "event" or not (seen.amount and seen.payer and seen.treasury)):
            return None  # nothing was paid, nobody says by whom to whom, or the transfer is to say so and there is none
        paid = evolve(seen, rail="call", reference=reference, found_by=matched)
        if native:
            return paid
        return evolve(paid, money="transfers" if self.mapping.money == "transfers" else "transfer")


def compile_events(mappings: Sequence[EventMapping], abi: str, *, path: str) -> tuple[CompiledEvent, ...]:
    """Check mappings against an ABI.

    Raises:
        InputError: an unknown or ambiguous event, two meanings for one, a field that is not there or of the wrong type;
            names the place (``events[0].amount``).

    """
    found: dict[tuple[bytes, int], str] = {}
    made: list[CompiledEvent] = []
    for at, mapping in enumerate(mappings):
        where = f"{path}[{at}]"
        entry = find_entry(abi, "event", mapping.event, path=f"{where}.event")
        compiled = _compile(mapping, entry, where)
        if compiled.shape == _TOKENS_OWN:
            raise InputError(
                "this is a token's own transfer, which is money and no word about it: bind the token itself",
                field=f"{where}.event",
            )
        if compiled.shape in found:
            raise InputError(f"{found[compiled.shape]} means this event already", field=f"{where}.event")
        found[compiled.shape] = where
        made.append(compiled)
    return tuple(made)


def _compile(mapping: EventMapping, entry: AbiEntry, path: str) -> CompiledEvent:
    takes: list[tuple[str, Take]] = []
    reference_type, by_hash = "", False
    for name, part in mapping.parts:
        take, kind, hashed = _take(name, part, entry, f"{path}.{name}")
        takes.append((name, take))
        if name == "reference":
            reference_type, by_hash = kind, hashed
    return CompiledEvent(
        mapping=mapping,
        decoder=compile_event(entry.raw),
        reference_type=reference_type,
        by_hash=by_hash,
        takes=tuple(takes),
        when=tuple(_condition(name, value, entry, f"{path}.when.{name}") for name, value in mapping.when),
    )


def _condition(name: FieldPath, value: str | int | bool, entry: AbiEntry, path: str) -> tuple[Take, Any]:
    kind, places, hashed = _walk(name, entry, path)
    if hashed or not kind.is_leaf:
        raise InputError(f"a {kind.name} cannot be compared with a value", field=path)
    return _getter(places), exact_value(value, kind.name, path)


def _getter(places: tuple[int, ...]) -> Take:
    def get(values: Values) -> Any:
        found: Any = values
        for place in places:
            found = found[place]
        return found

    return get


def _take(name: str, part: Part, entry: AbiEntry, path: str) -> tuple[Take, str, bool]:
    """Return how a part is taken from decoded values, its type, and whether only its hash is there."""
    if isinstance(part, Constant):
        constant = part.value
        return lambda _: constant, "", False
    kind, places, hashed = _walk(part, entry, path)
    read = _reader(name, kind, hashed=hashed)
    if read is None:
        told = f"an indexed {kind.name} is only its hash and" if hashed else f"a {kind.name}"
        raise InputError(f"{told} cannot be the {name}", field=path)

    get = _getter(places)
    return lambda values: read(get(values)), kind.name, hashed


def _walk(part: FieldPath, entry: AbiEntry, path: str) -> tuple[AbiType, tuple[int, ...], bool]:
    """Follow a path through an event's fields and the tuples inside them."""
    kind = AbiType(entry.signature, members=entry.inputs)
    places: list[int] = []
    hashed = False
    for step in part.steps:
        at = [place for place, (name, _) in enumerate(kind.members or ()) if name == step]
        if len(at) != 1 or hashed:
            raise InputError(f"{entry.signature} has no field {part}", field=path)
        kind = (kind.members or ())[at[0]][1]
        hashed = not places and entry.indexed[at[0]] and kind.is_hashed
        places.append(at[0])
    return kind, tuple(places), hashed


def _reader(name: str, kind: AbiType, *, hashed: bool) -> Read | None:
    """Return how a value becomes a part of an observation, None in it for what is none; None for a type that misfits.

    A reference is 32 bytes however the contract writes it, or their hash.
    """
    if hashed:
        return _same if name == "reference" and kind.name in ("bytes", "string") else None
    if name in ADDRESS_PARTS:
        if kind.name != "address":
            return None
        return _token if name == "token" else _same
    if name in NUMBER_PARTS:
        return _count if kind.name.startswith(("uint", "int")) and kind.is_leaf else None
    if name in HASH_PARTS:
        readers: dict[str, Read] = {"bytes32": _same, "uint256": _word, "bytes": _octets, "string": _text}
        return readers.get(kind.name)
    return None


def _same(value: Any) -> Any:
    return value


def _token(value: str) -> str:
    """Most contracts write the native coin as nobody's address."""
    return NATIVE_COIN if value == ZERO_ADDRESS else value


def _count(value: int) -> int | None:
    return value if value >= 0 else None


def _word(value: int) -> bytes:
    return value.to_bytes(_HASH_BYTES, "big")


def _octets(value: bytes) -> bytes | None:
    return value if len(value) == _HASH_BYTES else None


def _text(value: str) -> bytes | None:
    digits = value.removeprefix("0x")
    if len(digits) != 2 * _HASH_BYTES or digits != digits.lower():
        return None
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return None
