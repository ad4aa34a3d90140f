"""Proration: what a part of a period costs, exact to the second and to the base unit.

A price is spread evenly over the seconds of its period. A stretch of it costs its share rounded down; when a period is
cut into parts, each but the last costs its share rounded down and the last one what is left, so that the parts are the
whole. Integers all the way: no rounding mode, no fractions of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from evmbilling.errors import InputError, InvalidAmount

_MOST = 2**256


def prorate(price: int, part: int, whole: int) -> int:
    """Return what ``part`` of ``whole`` seconds costs at this price for the whole, rounded down.

    Args:
        price: base units, 0 or above.
        part: seconds, 0 to ``whole``.
        whole: seconds of the period, above 0.

    Raises:
        InvalidAmount: the price is no whole number from 0 to 2**256 - 1.
        InputError: the seconds are no whole numbers, or the part is not within the whole.

    """
    _check_price(price)
    _check_seconds(part, whole)
    return price * part // whole


def prorate_parts(price: int, parts: Sequence[int]) -> tuple[int, ...]:
    """Cut a period into parts and return what each costs: rounded down, and the remainder to the last.

    Args:
        price: base units of the whole period.
        parts: seconds of each part, 0 or above; together the period, above 0.

    Raises:
        InvalidAmount, InputError: as :func:`prorate`.

    """
    _check_price(price)
    whole = sum(part for part in parts if type(part) is int)
    for part in parts:
        _check_seconds(part, whole)
    if not parts:
        raise InputError("a period has at least one part", field="parts")
    shares = [price * part // whole for part in parts[:-1]]
    return (*shares, price - sum(shares))


def prorate_lines(amounts: Sequence[int], part: int, whole: int) -> tuple[int, ...]:
    """Return what a part of a period costs, line by line; the lines sum to what the part of their sum costs.

    Each line is rounded so that what is before it is exact: the remainders of all come together in the last ones.

    Args:
        amounts: base units of each line for the whole period; negative for discounts and credits.
        part, whole: seconds, as in :func:`prorate`.

    Raises:
        InvalidAmount, InputError: as :func:`prorate`.

    """
    _check_seconds(part, whole)
    shares, before, total = [], 0, 0
    for amount in amounts:
        if type(amount) is not int or not -_MOST < amount < _MOST:
            raise InvalidAmount("a line is a whole number of base units", field="amounts")
        total += amount
        until = total * part // whole
        shares.append(until - before)
        before = until
    return tuple(shares)


def seconds_between(start: datetime, end: datetime) -> int:
    """Return the whole seconds from one instant to another; parts of a second are left out, 0 when it is not later."""
    return max((end - start) // timedelta(seconds=1), 0)


def _check_price(price: object) -> None:
    if type(price) is not int or not 0 <= price < _MOST:
        raise InvalidAmount("a price is a whole number of base units from 0 to 2**256 - 1", field="price")


def _check_seconds(part: object, whole: object) -> None:
    if type(part) is not int or type(whole) is not int or whole <= 0 or not 0 <= part <= whole:
        raise InputError("a part is a whole number of seconds from 0 to the whole, which is above 0", field="part")
