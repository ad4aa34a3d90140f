"""Money: exact base units of an asset on one chain."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import field, frozen

from evmbilling.domain.addresses import NATIVE_COIN, parse_address
from evmbilling.errors import InputError, InvalidAmount

if TYPE_CHECKING:
    from datetime import date

MAX_UINT256 = 2**256 - 1
MAX_DECIMALS = 77
"""10**77 is the largest power of ten below 2**256."""

COIN_ALIASES = frozenset(
    {
        "0x471EcE3750Da237f93B8E339c536989b8978a438",  # CELO on Celo
        "0x0000000000000000000000000000000000001010",  # POL on Polygon
        "0x000000000000000000000000000000000000800A",  # ether on ZKsync Era
        "0xDeadDeAddeAddEAddeadDEaDDEAdDeaDDeAD0000",  # ether on chains with the first OP stack
        "0xffffFFFfFFffffffffffffffFfFFFfffFFFfFFfE",  # who logs movements of the coin (EIP-7708)
    }
)
"""Addresses under which a chain's own coin is a token as well: priced in both, one movement would be credited twice."""

_BASE_UNITS = re.compile(r"0|[1-9][0-9]{0,77}", re.ASCII)
_DISPLAY = re.compile(r"(?:0|[1-9][0-9]{0,77})(?:\.[0-9]{1,77})?", re.ASCII)


@frozen(kw_only=True)
class Asset:
    """A coin or token on one chain.

    Attributes:
        chain_id: EIP-155 chain id.
        token: the token's address (EIP-55), or ``NATIVE_COIN``.
        decimals: display digits, pinned when the asset is configured.
        symbol: the name shown to people; always from our configuration, never from the token.

    """

    chain_id: int
    token: str
    decimals: int
    symbol: str

    @property
    def is_native(self) -> bool:
        """Whether this is the chain's own coin."""
        return self.token == NATIVE_COIN


def make_asset(*, chain_id: object, token: object, decimals: object, symbol: object) -> Asset:
    """Build an asset from untrusted values.

    Raises:
        InputError: a value is of the wrong type or out of bounds; names the field.

    """
    if type(chain_id) is not int or not 0 < chain_id <= 2**63 - 1:
        raise InputError("a chain id is a positive whole number", field="chain_id")
    if type(decimals) is not int or not 0 <= decimals <= MAX_DECIMALS:
        raise InputError(f"decimals is a whole number from 0 to {MAX_DECIMALS}", field="decimals")
    if not isinstance(symbol, str) or not re.fullmatch(r"[\x21-\x7e]{1,32}", symbol):
        raise InputError("a symbol is 1 to 32 printable ASCII characters without spaces", field="symbol")
    address = parse_address(token, field="token")
    if address in COIN_ALIASES:
        raise InputError(f"this is the chain's own coin under another name; price it as {NATIVE_COIN}", field="token")
    return Asset(chain_id=chain_id, token=address, decimals=decimals, symbol=symbol)


def parse_base_units(value: object, *, field: str, minimum: int = 0) -> int:
    """Read an exact amount of base units from an ``int`` or a plain decimal string.

    Raises:
        InvalidAmount: floats, booleans, exponents, signs, spaces, other digits than ASCII, out of range.

    """
    if isinstance(value, str):
        if not _BASE_UNITS.fullmatch(value):
            raise InvalidAmount("an amount of base units is written as plain digits", field=field)
        value = int(value)
    if type(value) is not int:
        raise InvalidAmount("an amount is a whole number of base units", field=field)
    if not minimum <= value <= MAX_UINT256:
        raise InvalidAmount(f"an amount is from {minimum} to 2**256 - 1 base units", field=field)
    return value


def to_base_units(display: object, decimals: int, *, field: str) -> int:
    """Convert a price as people write it (``"19.99"``) to exact base units.

    Raises:
        InvalidAmount: not a plain decimal string, or finer than the asset's decimals can say.

    """
    if not isinstance(display, str) or not _DISPLAY.fullmatch(display):
        raise InvalidAmount('a price is written as plain digits, for example "19.99"', field=field)
    whole, _, fraction = display.partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > decimals:
        raise InvalidAmount(f"the asset has only {decimals} decimals", field=field)
    return parse_base_units(int(whole + fraction.ljust(decimals, "0")), field=field)


def from_base_units(amount: int, decimals: int) -> str:
    """Write base units as people read them, exactly, without trailing zeros."""
    if decimals == 0:
        return str(amount)
    digits = str(amount).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".")


def price_in_base_units(price: Decimal, decimals: int, *, field: str) -> int:
    """Convert a computed price to base units, rounding up to the next unit: the amount due never falls short.

    Raises:
        InvalidAmount: not finite, negative, or 2**256 base units and above.

    """
    if not price.is_finite() or price < 0:
        raise InvalidAmount("a price is a finite number, zero or above", field=field)
    if price and price.adjusted() + decimals > len(str(MAX_UINT256)):
        raise InvalidAmount("an amount is below 2**256 base units", field=field)
    if price and price.adjusted() + decimals < 0:
        return 1
    numerator, denominator = price.as_integer_ratio()
    return parse_base_units(-(-numerator * 10**decimals // denominator), field=field)


@frozen(kw_only=True)
class FiatEstimate:
    """What an amount was worth in fiat on a day: typed in by a person, shown, never computed with.

    Attributes:
        amount: in whole currency units.
        currency: ISO 4217 code.
        as_of: the day of the estimate.

    """

    amount: Decimal
    currency: str = field(default="USD")
    as_of: date
