"""What a row may hold: the same bounds as the columns of a database have, checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

import attrs

from evmbilling.domain.books.ledger import Balance, Line
from evmbilling.domain.books.movements import Move
from evmbilling.domain.books.mrr import Price as MonthlyPrice
from evmbilling.domain.books.rollups import Cell
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, Price, SubscriptionPlan
from evmbilling.domain.mandates.mandates import Mandate, Permit
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
from evmbilling.domain.payments.treasury import Movement
from evmbilling.domain.selling.deposits import Deposit
from evmbilling.domain.selling.orders import Order, OrderCall, OrderLine
from evmbilling.domain.sending.transmissions import MinedIn, SignedTransaction, Transmission
from evmbilling.domain.subscriptions.access import Entitlement
from evmbilling.domain.subscriptions.dunning import DunningStep
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.errors import InputError, InvalidAmount

R = TypeVar("R")

_AMOUNTS: Final = frozenset(
    {
        (Balance, "credit"),
        (Balance, "debit"),
        (Line, "amount"),
        (Mandate, "cap"),
        (Mandate, "charge_cap"),
        (Mandate, "salt"),
        (Movement, "amount"),
        (Network, "gas_price_cap"),
        (Order, "amount"),
        (OrderCall, "value"),
        (OrderCall, "approve"),
        (Order, "tolerance"),
        (Permit, "amount"),
        (Price, "amount"),
        (QueueItem, "amount"),
        (Receipt, "amount"),
        (ReceiptEntry, "amount"),
        (Refund, "amount"),
        (Subscription, "debt"),
        (Transmission, "value"),
        (Transmission, "gas_ceiling"),
        (MinedIn, "gas_paid"),
        (SignedTransaction, "max_fee"),
        (SignedTransaction, "priority_fee"),
    }
)
_UNBOUNDED: Final = frozenset(
    {
        (OrderLine, "amount"),
        (SubscriptionPlan, "limits"),
        (Entitlement, "limits"),
        (PaymentContract, "gas"),
        (Network, "agreement_above"),
        (Deposit, "held"),
        (MisfitPolicy, "dust_below"),
        (MisfitPolicy, "approval_above"),
        (DunningStep, "at_least"),
        (Move, "amount"),
        (Cell, "amount"),
        (MonthlyPrice, "amount"),
    }
)
"""Lines and figures may be negative and only their sum is bounded; limits, gas and policies stand in JSON."""
_HASHES: Final = frozenset(
    {
        *("reference", "on_chain_id", "tx_hash", "hash", "parent_hash", "block_hash", "fingerprint", "topics"),
        *("digest", "previous", "mac", "token_hash"),
    }
)
_MAYBE_EMPTY: Final = frozenset({(Refund, "reference"), (Refund, "on_chain_id")})
_HASH_BYTES: Final = 32
_BIGINT: Final = 2**63
_FIELDS: Final[dict[type, tuple[str, ...]]] = {}


def checked(record: R) -> R:
    """Return a record, or a decision with its records, as a database would give it back.

    Instants are in UTC, and JSON values are copies of their own.

    Raises:
        InvalidAmount: an amount that is no ``int`` from 0 to 2**256 - 1; names the column.
        InputError: a naive datetime, a whole number beyond 64 bits, a text or hash that a column cannot hold.

    """
    kind: type[Any] = type(record)
    changes: dict[str, Any] = {}
    for name in _names(kind):
        value = getattr(record, name)
        stored = _checked_value(kind, name, value)
        if stored is not value:
            changes[name] = stored
    return attrs.evolve(record, **changes) if changes else record  # type: ignore[misc]  # every record is an attrs class


def _names(kind: type[Any]) -> tuple[str, ...]:
    # functools.cache would ask for a Hashable, which a type is not to mypy.
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(attribute.name for attribute in attrs.fields(kind))
    return _FIELDS[kind]


def _checked_value(owner: type, name: str, value: object) -> object:
    if (owner, name) in _AMOUNTS and value is not None:
        return _amount(name, value)
    if not value and (owner, name) in _MAYBE_EMPTY:
        return value
    check = _CHECKS.get(type(value))
    if check is not None:
        free = type(value) is int and (owner, name) in _UNBOUNDED
        return value if free else check(name, value)
    if isinstance(value, tuple):
        return _items(owner, name, value)
    return checked(value) if attrs.has(type(value)) else value


def _items(owner: type, name: str, values: tuple[object, ...]) -> tuple[object, ...]:
    stored = tuple(_checked_value(owner, name, value) for value in values)
    return values if all(new is old for new, old in zip(stored, values, strict=True)) else stored


def _amount(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**256:
        raise InvalidAmount(field=name)
    return value


def _whole(name: str, value: int) -> int:
    if not -_BIGINT <= value < _BIGINT:
        raise InputError("a whole number of at most 64 bits was expected", field=name)
    return value


def _instant(name: str, value: datetime) -> datetime:
    if value.utcoffset() is None:
        raise InputError("an instant carries its time zone", field=name)
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def _text(name: str, value: str) -> str:
    if "\x00" in value or not (value.isascii() or value == value.encode(errors="replace").decode()):
        raise InputError("a text cannot hold NUL characters or lone surrogates", field=name)
    return value


def _octets(name: str, value: bytes) -> bytes:
    if name in _HASHES and len(value) != _HASH_BYTES:
        raise InputError(f"{_HASH_BYTES} bytes were expected", field=name)
    return value


def _decimal(name: str, value: Decimal) -> Decimal:
    if not value.is_finite():
        raise InputError("a finite decimal was expected", field=name)
    return value


def _no_float(name: str, _: object) -> object:
    raise InputError("whole numbers only", field=name)


def json_copy(name: str, value: object) -> Any:
    """Return a copy of a JSON value with sorted keys, so that nobody changes a stored row through it.

    Raises:
        InputError: a float, a key that is no text, or a value that JSON does not have.

    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _text(name, str(value))
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {_text(name, key): json_copy(name, value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [json_copy(name, item) for item in value]
    raise InputError(f"JSON in storage holds no {type(value).__name__}", field=name)


_CHECKS: Final[dict[type, Callable[[str, Any], object]]] = {
    int: _whole,
    datetime: _instant,
    str: _text,
    bytes: _octets,
    Decimal: _decimal,
    float: _no_float,
    dict: json_copy,
}
