"""The logs that paying through a contract bound by configuration leaves: its event, as the binding reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.types import AbiEntry, AbiType, find_entry
from evmbilling.domain.addresses import ZERO_ADDRESS
from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.catalogue.event_mappings import EventMapping, FieldPath, mappings_of
from evmbilling.domain.identity import subscription_token
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import ConfigurationError, InputError
from evmbilling.testing.paid_logs import FakeLog, transfer_log

_WORD: Final = 32
_EMPTY: Final[Mapping[str, Any]] = {"address": ZERO_ADDRESS, "bool": False, "string": "", "bytes": b""}


def mapped_logs(
    order: Order,
    contract: PaymentContract,
    *,
    payer: str | None = None,
    amount: int | None = None,
    token_id: int | None = None,
    fields: Mapping[str, Any] | None = None,
) -> tuple[FakeLog, ...]:
    """Return the token's ``Transfer`` (none for the native coin) and then the event that means that an order is paid.

    Args:
        order: what is paid.
        contract: its binding. A later period is told by its event that ``means`` ``renewed``, where it has one.
        payer, amount: the order's wallet and amount when left out.
        token_id: of the membership; the subscription's number when left out.
        fields: what other fields of the event hold, by their path (``order.note``); they are empty otherwise.

    Raises:
        ConfigurationError: the contract is of another kind.
        InputError: the event has no such field, or it cannot hold the value.

    """
    if contract.kind != "mapped" or contract.abi is None or contract.events is None:
        raise ConfigurationError(f"contract {contract.slug} is not bound by configuration", field="kind")
    mapping = _mapping(order, contract)
    entry = find_entry(contract.abi, "event", mapping.event, path="events")
    sender, moved = payer or order.wallet, order.amount if amount is None else amount
    values = {
        "reference": order.reference,
        "payer": sender,
        "beneficiary": order.beneficiary,
        "token": ZERO_ADDRESS if order.asset.is_native else order.asset.token,
        "amount": moved,
        "treasury": order.treasury,
        "expiry": int(order.member_until.timestamp()) if order.member_until else 0,
        "token_id": subscription_token(order.subscription_id) if token_id is None else token_id,
    }
    told: dict[tuple[str, ...], Any] = {
        part.steps: values[name] for name, part in mapping.parts if isinstance(part, FieldPath) and name in values
    }
    told |= {name.steps: value for name, value in mapping.when}
    told |= {tuple(path.split(".")): value for path, value in (fields or {}).items()}
    event = _log(contract.address, entry, told)
    native = order.asset.is_native
    return (event,) if native else (transfer_log(order.asset.token, sender, order.treasury, moved), event)


def _mapping(order: Order, contract: PaymentContract) -> EventMapping:
    paying = [mapping for mapping in mappings_of(contract.events or "[]") if mapping.is_paying]
    wanted = "renewed" if order.period else "paid"
    return next((mapping for mapping in paying if mapping.means == wanted), paying[0])


def _log(address: str, entry: AbiEntry, told: Mapping[tuple[str, ...], Any]) -> FakeLog:
    """Encode an event: indexed values are topics, those that do not fit in a word by their hash."""
    _check_names(entry.inputs, told)
    topics = [keccak(entry.signature.encode())]
    data: list[tuple[str, Any]] = []
    for (name, kind), indexed in zip(entry.inputs, entry.indexed, strict=True):
        value = _value(kind, {steps[1:]: value for steps, value in told.items() if steps[0] == name})
        if indexed:
            topics.append(_topic(kind, value))
        else:
            data.append((kind.name, value))
    return FakeLog(address, tuple(topics), _encoded([kind for kind, _ in data], [value for _, value in data]))


def _encoded(kinds: Sequence[str], values: Sequence[Any]) -> bytes:
    try:
        return bytes(encode(kinds, values))
    except EncodingError:
        raise InputError("a field cannot hold its value", field="fields") from None


def _topic(kind: AbiType, value: Any) -> bytes:
    if not kind.is_hashed:
        return _encoded([kind.name], [value])
    octets = value.encode() if isinstance(value, str) else value
    return keccak(octets) if isinstance(octets, bytes) else bytes(_WORD)


def _value(kind: AbiType, told: Mapping[tuple[str, ...], Any]) -> Any:
    """Return a value of a type: what is told of it or of its members, empty otherwise."""
    if () in told:
        return _written(kind.name, told[()])
    _check_names(kind.members or (), told)
    if kind.members is not None:
        return tuple(
            _value(member, {steps[1:]: value for steps, value in told.items() if steps[0] == name})
            for name, member in kind.members
        )
    if kind.item is not None:
        return [_value(kind.item, {}) for _ in range(kind.length or 0)]
    return _EMPTY.get(kind.name, bytes(int(kind.name[5:])) if kind.name.startswith("bytes") else 0)


def _check_names(members: Sequence[tuple[str, AbiType]], told: Mapping[tuple[str, ...], Any]) -> None:
    unknown = {steps[0] for steps in told} - {name for name, _ in members}
    if unknown:
        raise InputError(f"there is no field {min(unknown)}", field="fields")


def _written(kind: str, value: Any) -> Any:
    """Return a value as a type holds it: the 32 bytes of a reference are also a number, or text."""
    if not isinstance(value, bytes) or kind.startswith("bytes"):
        return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value
    return "0x" + value.hex() if kind == "string" else int.from_bytes(value, "big")
