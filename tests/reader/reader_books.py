"""Merchants on chains in memory, and everything that a re-scan or an outage must leave as it was."""

from __future__ import annotations

from typing import Any

import attrs

from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.testing.merchant import SimulatedMerchant


def books(shop: SimulatedMerchant) -> dict[str, Any]:
    """Receipts, balances, periods, standings, access and movements, row by row, without what only counts versions."""
    with shop.engine._ports.storage.unit(write=False) as unit:
        orders = unit.all_orders()
        held = {order.subscription_id for order in orders if order.subscription_id}
        receipts = unit.all_receipts()
        return {
            "orders": [attrs.evolve(order, version=0) for order in orders],
            "receipts": [attrs.evolve(r, version=0, entries=0) for r in receipts],
            "subscriptions": [attrs.evolve(s, version=0) for s in unit.subscriptions(held).values()],
            "balances": sorted(repr(b) for b in unit.all_balances()),
            "entitlements": unit.entitlements([order.user_id for order in orders]),
            "movements": [attrs.evolve(m, version=0) for m in unit.all_movements()],
            "logs": evidence(shop),
        }


def told(shop: SimulatedMerchant) -> list[str]:
    """The events that were published, in order."""
    with shop.engine._ports.storage.unit(write=False) as unit:
        return [event.event_id for event in unit.events(limit=10_000)]


def evidence(shop: SimulatedMerchant) -> list[ChainLog]:
    with shop.engine._ports.storage.unit(write=False) as unit:
        return list(unit.logs_between(shop.chain.chain_id, 0, 10**9))


def cursor(shop: SimulatedMerchant) -> Any:
    with shop.engine._ports.storage.unit(write=False) as unit:
        return unit.cursor(shop.chain.chain_id)


def window(shop: SimulatedMerchant) -> list[int]:
    with shop.engine._ports.storage.unit(write=False) as unit:
        return [header.number for header in unit.window(shop.chain.chain_id)]


def sell(shop: SimulatedMerchant, users: int, *, apart: int = 20) -> list[Any]:
    """Let users check out and pay, some blocks apart; nothing is read."""
    offers = []
    for number in range(users):
        offers.append(shop.checkout(f"user-{number}"))
        shop.chain.pay(offers[-1].order)
        shop.chain.mine(apart)
        shop.clock.set(max(shop.clock.now(), shop.chain.head.timestamp))
    return offers
