"""Quota in the database: limits come from access at the moment of asking; a use is one conditional write."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.people.quota import granting, window_of
from evmbilling.domain.people.usage import Window
from evmbilling.engine.context import Ports
from evmbilling.engine.requests import parse_quantity
from evmbilling.ports.quota import QuotaAnswer
from evmbilling.ports.storage import Unit


def check(ports: Ports, unit: Unit, user_id: str, limit: str, amount: int) -> QuotaAnswer:
    """Say whether a use would fit; consumes nothing."""
    parse_quantity(amount, field="amount")
    left = _left(unit, _windows(ports, unit, user_id, limit))
    return QuotaAnswer(allowed=amount <= left, left=left)


def consume(ports: Ports, unit: Unit, user_id: str, limit: str, amount: int) -> QuotaAnswer:
    """Take a use if it fits, out of one of the windows; exact under any number of callers."""
    parse_quantity(amount, field="amount")
    windows = _windows(ports, unit, user_id, limit)
    # Somebody may have taken what was there a moment ago: each window says for itself whether it fits.
    taken = any(unit.consume(window, amount) is not None for window in windows)
    return QuotaAnswer(allowed=taken, left=_left(unit, windows))


def _left(unit: Unit, windows: Sequence[Window]) -> int:
    """Return how much one use may take at most: a use is taken whole, out of one window."""
    return max([0, *(window.allowed - unit.used(window) for window in windows)])


def _windows(ports: Ports, unit: Unit, user_id: str, limit: str) -> list[Window]:
    user = parse_opaque(user_id, field="user_id")
    name = parse_opaque(limit, field="limit")
    now = ports.clock.now()
    sources = granting(unit.entitlements([user]), name, now)
    held = [source.subscription_id for source in sources if source.subscription_id is not None]
    bought = [source.source_id for source in sources if source.subscription_id is None]
    subscriptions = unit.subscriptions(held) if held else {}
    orders = unit.orders(bought) if bought else {}
    made = {source_id: subscription.created_at for source_id, subscription in subscriptions.items()}
    made |= {ledger_id: order.created_at for ledger_id, order in orders.items()}
    return [
        window_of(source, name, subscriptions.get(source.source_id), asked=made[source.source_id], now=now)
        for source in sources
        if source.source_id in made
    ]
