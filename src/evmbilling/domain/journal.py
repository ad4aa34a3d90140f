"""The journal of one change: numbers a customer's events in the order in which they happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs

from evmbilling.domain.decisions import Decision, Publish, StoreCustomer
from evmbilling.domain.messages.events import Event, EventType, PlanChangeCause
from evmbilling.domain.money import Asset
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.access import Entitlement, entitled_plan


class Journal:
    """Collects a customer's events inside a rule; ``seq`` goes on from the customer's row, which is locked."""

    def __init__(self, customer: Customer, now: datetime, new_id: Callable[[], str]) -> None:
        self._customer = customer
        self._now = now
        self._new_id = new_id
        self._events: list[Event] = []

    def publish(self, type_: EventType, data: dict[str, Any], *, occurred_at: datetime | None = None) -> None:
        """Add an event; ``data`` holds JSON values, amounts as strings of base units."""
        self._events.append(
            Event(
                event_id=self._new_id(),
                type=type_,
                aggregate=f"customer:{self._customer.user_id}",
                seq=self._customer.event_seq + len(self._events) + 1,
                occurred_at=occurred_at or self._now,
                recorded_at=self._now,
                data={"user_id": self._customer.user_id} | data,
            )
        )

    def point(self) -> int:
        """Return how many events there are so far, for :meth:`rewind`."""
        return len(self._events)

    def rewind(self, point: int) -> None:
        """Forget the events since a point: what they told of did not come about."""
        del self._events[point:]

    def decisions(self) -> tuple[Decision, ...]:
        """Return the events and the customer's row that counts them; nothing when nothing happened."""
        if not self._events:
            return ()
        counted = attrs.evolve(
            self._customer,
            event_seq=self._customer.event_seq + len(self._events),
            version=self._customer.version + 1,
        )
        return (*(Publish(event) for event in self._events), StoreCustomer(counted))


def order_facts(order: Order) -> dict[str, Any]:
    """Return what events say about an order."""
    return {
        "ledger_id": order.ledger_id,
        "status": str(order.status),
        "plan": order.plan_slug,
        "product": str(order.product),
        "subscription_id": order.subscription_id,
        "network": order.network,
        "token": order.asset.token,
        "symbol": order.asset.symbol,
        "decimals": order.asset.decimals,
        "amount": str(order.amount),
    }


def asset_facts(asset: Asset) -> dict[str, Any]:
    """Return what events say about money that no order explains."""
    return {"chain_id": asset.chain_id, "token": asset.token, "symbol": asset.symbol, "decimals": asset.decimals}


def plan_change(
    journal: Journal,
    before: Entitlement | None,
    after: Entitlement,
    *,
    now: datetime,
    cause: PlanChangeCause,
    occurred_at: datetime,
) -> Entitlement:
    """Publish ``billing.plan.changed.v1`` if the plan that the user was told, or its limits, changed.

    Returns what is told now.
    """
    old, new = before.told if before is not None else None, entitled_plan(after, now)
    after = attrs.evolve(after, told=new)
    same_limits = before is None or new is None or before.limits == after.limits
    if old == new and same_limits:
        return after
    starts_later = new is not None and after.starts_at is not None and after.starts_at > now
    effective_at = after.starts_at if starts_later and after.starts_at else now
    journal.publish(
        EventType.PLAN_CHANGED,
        {
            "subscription_id": after.subscription_id,
            "product": str(after.product),
            "old_plan": old,
            "new_plan": new,
            "limits": dict(after.limits) if new is not None else {},
            "effective_at": effective_at.isoformat(),
            "cause": cause,
        },
        occurred_at=occurred_at,
    )
    return after
