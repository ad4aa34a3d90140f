"""One order as its owner and its payer see it: whether it can be paid now, with what, and what comes next."""

from __future__ import annotations

from datetime import datetime

from evmbilling.domain.selling.offers import Checkout, NextStep
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import IN_FLIGHT_ORDERS, OPEN_ORDERS, PAID_ORDERS, PAYABLE_ORDERS
from evmbilling.engine.context import Ports
from evmbilling.engine.requests import is_ledger_id
from evmbilling.engine.selling.deposit_orders import address_of
from evmbilling.errors import ConfigurationError, NotFound
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit


def find_order(unit: Unit, ledger_id: str, user_id: str | None) -> Order:
    """Return an order; another user's order is as absent as one that does not exist.

    Raises:
        NotFound: there is none.

    """
    order = unit.order(ledger_id) if is_ledger_id(ledger_id) else None
    if order is None or user_id not in (None, order.user_id):
        raise NotFound("there is no such order", field="ledger_id")
    return order


def order_provider(ports: Ports, unit: Unit, order: Order) -> Provider:
    """Return the provider of the gateway that an order was made with."""
    gateway = unit.gateway(order.gateway_slug)
    if gateway is None:
        raise ConfigurationError(f"the gateway {order.gateway_slug} is gone", field="gateway")
    return ports.provider(gateway.provider)


def answer(provider: Provider, order: Order, now: datetime, *, replayed: bool = False) -> Checkout:
    """Return an order as callers see it: payload and challenge while it can be paid, the present status always."""
    payable = is_payable(order, now)
    return Checkout(
        ledger_id=order.ledger_id,
        status=order.status,
        next=_next_step(order, payable=payable),
        reference=order.reference,
        asset=order.asset,
        amount=order.amount,
        lines=order.lines,
        deadline=order.deadline,
        payload=provider.payload(order) if payable else None,
        challenge=provider.challenge(order) if payable else None,
        uri=provider.uri(order) if payable else None,
        address=address_of(order) if payable else None,
        replayed=replayed,
        order=order,
    )


def is_payable(order: Order, now: datetime) -> bool:
    """Whether a transaction sent now could still pay the order."""
    return order.status in PAYABLE_ORDERS and order.closed_as is None and now <= order.deadline


def _next_step(order: Order, *, payable: bool) -> NextStep:
    if payable:
        return "pay"
    if order.status in PAID_ORDERS:
        return "done"
    # A deadline that we have not yet seen pass on chain may hide a payment in its last seconds.
    if order.status in IN_FLIGHT_ORDERS or (order.status in OPEN_ORDERS and order.closed_as is None):
        return "wait"
    return "checkout_again"
