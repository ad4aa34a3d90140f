"""Whether a network can be sold on now: as far as it is read, that is, and not as far as its nodes say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from evmbilling.domain.catalogue.catalogue import Network, Price, SubscriptionPlan
from evmbilling.domain.reading.evidence import Cursor

Unavailable = Literal["halted", "lagging", "contract_halted", "contract_unchecked", "token_unchecked"]
WHY_NOT: Final[dict[Unavailable, str]] = {
    "halted": "nothing new is sold on this network until a person has looked at its chain",
    "lagging": "nothing new is sold on this network until its chain has been read up to the present",
    "contract_halted": "nothing new is sold through this contract or in this token until a person has looked at it",
    "contract_unchecked": "nothing new is sold through this contract until its code has been looked at",
    "token_unchecked": "nothing is sold in this token until its chain has told its decimals",
}
"""Why nothing new is sold, for people."""


def lag_of(cursor: Cursor, now: datetime) -> timedelta:
    """Return how old the last block is that was read; never negative."""
    return max(now - cursor.block.timestamp, timedelta(0))


def unavailable(network: Network, cursor: Cursor | None, now: datetime) -> Unavailable | None:
    """Return why nothing new is sold on a network; None when it is.

    A network of which nothing was read yet is sold on: its first orders come before its reader.
    """
    if cursor is None:
        return None
    if cursor.halt is not None:
        return "halted"
    late = network.max_lag is not None and lag_of(cursor, now) > timedelta(seconds=network.max_lag)
    return "lagging" if late else None


def fallback_prices(plan: SubscriptionPlan, network: Network, asset: str | None) -> Sequence[Price]:
    """Return the plan's price on each fallback of a network, in their order, where it has one.

    ``asset`` is a symbol or a token address; a token has another address on another network, so its symbol counts.
    """
    return _prices_on(network.fallback_networks, plan, network.name, asset)


def other_prices(plan: SubscriptionPlan, network: str, asset: str | None) -> Sequence[Price]:
    """Return the plan's price on each other network that it names, in its order; the asset as above."""
    others = dict.fromkeys(price.network for price in plan.prices if price.network != network)
    return _prices_on(others, plan, network, asset)


def _prices_on(names: Iterable[str], plan: SubscriptionPlan, own: str, asset: str | None) -> Sequence[Price]:
    symbols = {p.asset.symbol for p in plan.prices if p.network == own and _names(p, asset)}
    found: list[Price] = []
    for name in names:
        there = [p for p in plan.prices if p.network == name]
        fitting = [p for p in there if asset is None or _names(p, asset) or p.asset.symbol in symbols]
        found += fitting[:1]
    return found


def _names(price: Price, asset: str | None) -> bool:
    return asset is None or asset == price.asset.symbol or asset.lower() == price.asset.token.lower()
