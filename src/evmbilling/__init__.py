"""evmbilling: a billing engine for Python applications that are paid on EVM chains.

The names below are the public API. Heavy parts are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evmbilling._version import __version__

if TYPE_CHECKING:
    from evmbilling.aio import AsyncBillingEngine
    from evmbilling.domain.actors import Actor, Role
    from evmbilling.domain.selling.offers import Checkout, PayInstructions, Quote, WalletPayload
    from evmbilling.domain.selling.orders import Order
    from evmbilling.domain.subscriptions.access import Access
    from evmbilling.domain.subscriptions.change_records import ChangePreview
    from evmbilling.domain.subscriptions.dunning import DunningPolicy
    from evmbilling.domain.subscriptions.leaving import SubscriptionView
    from evmbilling.domain.subscriptions.subscriptions import Subscription
    from evmbilling.engine.subscriptions.changes import ChangeResult
    from evmbilling.errors import BillingError
    from evmbilling.factory import BillingEngine
    from evmbilling.plugins.hookspecs import hookimpl
    from evmbilling.settings import BillingSettings

__all__ = [
    "Access",
    "Actor",
    "AsyncBillingEngine",
    "BillingEngine",
    "BillingError",
    "BillingSettings",
    "ChangePreview",
    "ChangeResult",
    "Checkout",
    "DunningPolicy",
    "Order",
    "PayInstructions",
    "Quote",
    "Role",
    "Subscription",
    "SubscriptionView",
    "WalletPayload",
    "__version__",
    "hookimpl",
]

_HOMES = {
    "Access": "domain.subscriptions.access",
    "Actor": "domain.actors",
    "AsyncBillingEngine": "aio",
    "BillingEngine": "factory",
    "BillingError": "errors",
    "BillingSettings": "settings",
    "ChangePreview": "domain.subscriptions.change_records",
    "ChangeResult": "engine.subscriptions.changes",
    "Checkout": "domain.selling.offers",
    "DunningPolicy": "domain.subscriptions.dunning",
    "Order": "domain.selling.orders",
    "PayInstructions": "domain.selling.offers",
    "Quote": "domain.selling.offers",
    "Role": "domain.actors",
    "Subscription": "domain.subscriptions.subscriptions",
    "SubscriptionView": "domain.subscriptions.leaving",
    "WalletPayload": "domain.selling.offers",
    "hookimpl": "plugins.hookspecs",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
