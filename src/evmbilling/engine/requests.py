"""Reading what callers give: parsed once, here, into exact values or a typed error that names the field."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from numbers import Real
from typing import Any, TypeVar

from evmbilling.domain.addresses import NATIVE_COIN, parse_address
from evmbilling.domain.identity import parse_opaque, parse_product, parse_slug
from evmbilling.domain.selling.offering import NOBODY, CheckoutRequest
from evmbilling.domain.subscriptions.calendar import parse_instant, parse_zone
from evmbilling.errors import InputError, InvalidAddress

MAX_QUANTITY = 1_000_000
MAX_PAGE = 10_000
_MOST_BLOCKS = 2**63
_LONGEST_PAUSE = 86_400
Told = TypeVar("Told")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def parse_quantity(value: object, *, field: str = "quantity") -> int:
    """Read a number of pieces, 1 to 1,000,000.

    Raises:
        InputError: anything else.

    """
    if type(value) is not int or not 1 <= value <= MAX_QUANTITY:
        raise InputError(f"a quantity is a whole number from 1 to {MAX_QUANTITY}", field=field)
    return value


def parse_limit(value: object) -> int:
    """Read how many rows a page has, 1 to 10,000.

    Raises:
        InputError: anything else.

    """
    if type(value) is not int or not 1 <= value <= MAX_PAGE:
        raise InputError(f"a page has 1 to {MAX_PAGE} rows", field="limit")
    return value


def parse_count(value: object, *, field: str, most: int = MAX_QUANTITY) -> int:
    """Read how many of something, 1 to 1,000,000 or to a bound of its own.

    Raises:
        InputError: anything else.

    """
    if type(value) is not int or not 1 <= value <= most:
        raise InputError(f"how many is a whole number from 1 to {most}", field=field)
    return value


def parse_optional(value: object, *, field: str, longest: int = 255) -> str | None:
    """Read an opaque id, or None for all.

    Raises:
        InputError: neither.

    """
    return None if value is None else parse_opaque(value, field=field, longest=longest)


def parse_block(value: object, *, field: str) -> int:
    """Read a block's number, 0 or above.

    Raises:
        InputError: anything else.

    """
    if type(value) is not int or not 0 <= value < _MOST_BLOCKS:
        raise InputError("a block's number is a whole number, 0 or above", field=field)
    return value


def parse_pause(value: object, *, field: str) -> Any:
    """Read how many seconds to wait, above 0 and at most a day; parts of a second too.

    Raises:
        InputError: anything else.

    """
    seconds: Any = value
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < seconds <= _LONGEST_PAUSE:
        raise InputError(f"a number of seconds above 0, at most {_LONGEST_PAUSE}, is expected", field=field)
    return seconds


def check_callable(value: Told, *, field: str) -> Told:
    """Take something that can be called, or None.

    Raises:
        InputError: anything else.

    """
    if value is not None and not callable(value):
        raise InputError("something that can be called is expected", field=field)
    return value


def check_text(value: object, *, field: str) -> str | None:
    """Take a text that is only compared, whatever it says, or None for any.

    Raises:
        InputError: neither.

    """
    if value is not None and not isinstance(value, str):
        raise InputError("a text is expected", field=field)
    return value


def parse_page(after: object, limit: object) -> tuple[str, int]:
    """Read the id after which a page begins (empty for the first), and how many rows it has.

    Raises:
        InputError: either cannot be used.

    """
    return "" if after == "" and isinstance(after, str) else parse_opaque(after, field="after"), parse_limit(limit)


def parse_words(value: object, known: Iterable[str], *, field: str) -> tuple[str, ...]:
    """Read a list of words out of those that are known.

    Raises:
        InputError: no list, or another word.

    """
    words = sorted(str(word) for word in known)
    given = value if isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping) else (None,)
    if not all(isinstance(word, str) and word in words for word in given):
        raise InputError(f"a list out of these is expected: {', '.join(words)}", field=field)
    return tuple(sorted({str(word) for word in given}))


def is_ledger_id(value: object) -> bool:
    """Whether a value can name an order at all."""
    return isinstance(value, str) and _UUID.fullmatch(value) is not None


def parse_asset(value: object) -> str:
    """Read an asset as callers name it: a token address or a symbol.

    Raises:
        InputError: neither.

    """
    if isinstance(value, str) and value[:2].lower() == "0x":
        return parse_address(value, field="asset")
    return parse_opaque(value, field="asset", longest=32)


def parse_wallet(value: object, *, field: str) -> str:
    """Read the address of somebody who can pay.

    Raises:
        InvalidAddress: no address, or the placeholder of the native coin, which is nobody's.

    """
    address = parse_address(value, field=field)
    if address == NATIVE_COIN:
        raise InvalidAddress("this address stands for the native coin and is nobody's", field=field)
    return address


def parse_checkout(
    *,
    plan: object,
    user_id: object,
    wallet: object,
    network: object,
    asset: object,
    product: object,
    quantity: object,
    beneficiary: object,
    zone: object,
    start_at: datetime | None,
) -> CheckoutRequest:
    """Parse a checkout's parameters.

    Raises:
        InputError: names the first field that cannot be used.

    """
    return CheckoutRequest(
        plan=parse_slug(plan, field="plan"),
        user_id=parse_opaque(user_id, field="user_id"),
        wallet=NOBODY if wallet is None else parse_wallet(wallet, field="wallet"),
        network=None if network is None else parse_slug(network, field="network"),
        asset=None if asset is None else parse_asset(asset),
        product=None if product is None else parse_product(product, field="product"),
        quantity=parse_quantity(quantity),
        beneficiary=None if beneficiary is None else parse_wallet(beneficiary, field="beneficiary"),
        zone=None if zone is None else parse_zone(zone, field="zone"),
        start_at=None if start_at is None else parse_instant(start_at, field="start_at"),
    )


def fingerprint(operation: str, request: CheckoutRequest) -> bytes:
    """Return 32 bytes that are equal exactly for equal parameters."""
    canonical = [
        operation,
        request.plan,
        request.user_id,
        request.wallet,
        request.network,
        request.asset,
        None if request.product is None else str(request.product),
        request.quantity,
        request.beneficiary,
        request.zone,
        None if request.start_at is None else request.start_at.isoformat(),
    ]
    return hashlib.sha256(json.dumps(canonical, ensure_ascii=True).encode()).digest()
