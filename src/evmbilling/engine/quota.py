"""Quota in the database: limits come from access at the moment of asking; a use is one conditional write."""

from __future__ import annotations

from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.quota import granting, window_of
from evmbilling.domain.usage import Window
from evmbilling.engine.context import Ports
from evmbilling.engine.requests import parse_quantity
from evmbilling.ports.quota import QuotaAnswer
from evmbilling.ports.storage import Unit

REFUSED = QuotaAnswer(allowed=False, left=0)


def check(ports: Ports, unit: Unit, user_id: str, limit: str, amount: int) -> QuotaAnswer:
    """Say whether a use would fit; consumes nothing."""
    parse_quantity(amount, field="amount")
    window = _window(ports, unit, user_id, limit)
    if window is None:
        return REFUSED
    left = max(0, window.allowed - unit.used(window))
    return QuotaAnswer(allowed=amount <= left, left=left)


def consume(ports: Ports, unit: Unit, user_id: str, limit: str, amount: int) -> QuotaAnswer:
    """Take a use if it fits; exact under any number of callers."""
    parse_quantity(amount, field="amount")
    window = _window(ports, unit, user_id, limit)
    if window is None:
        return REFUSED
    total = unit.consume(window, amount)
    if total is None:
        return QuotaAnswer(allowed=False, left=max(0, window.allowed - unit.used(window)))
    return QuotaAnswer(allowed=True, left=max(0, window.allowed - total))


def _window(ports: Ports, unit: Unit, user_id: str, limit: str) -> Window | None:
    user = parse_opaque(user_id, field="user_id")
    name = parse_opaque(limit, field="limit")
    now = ports.clock.now()
    source = granting(unit.entitlements([user]), name, now)
    if source is None:
        return None
    subscription = None
    if source.subscription_id is not None:
        subscription = unit.subscriptions([source.subscription_id]).get(source.subscription_id)
    return window_of(source, name, subscription, now)
