"""Which way money goes back: the contract knows only the payments that it took itself."""

from __future__ import annotations

from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import SUPPORTING_RECEIPTS
from evmbilling.ports.storage import Unit


def paid_through_contract(unit: Unit, order: Order) -> bool:
    """Whether the order's own contract took a payment of it; what was pulled under a mandate came another way."""
    return _gives_back(unit, order) and _came_through(unit, order)


def membership_of(unit: Unit, order: Order) -> Order | None:
    """Return the order whose payment through its contract gave the membership that an order is of; None without one.

    What is pulled under a mandate, or sent as a plain transfer, mints nothing; a contract that is bound by
    configuration gives what its binding can end.
    """
    if order.subscription_id is None:
        return None
    family = unit.orders_of_subscriptions([order.subscription_id])
    own_first = sorted(family, key=lambda o: (o.ledger_id != order.ledger_id, o.ledger_id))
    return next((o for o in own_first if _gives_membership(unit, o) and _came_through(unit, o)), None)


def _came_through(unit: Unit, order: Order) -> bool:
    counted = [r.identity for r in unit.receipts_of_orders([order.ledger_id]) if r.status in SUPPORTING_RECEIPTS]
    return any(log.address == order.contract for log in unit.logs_of(counted).values())


def _gives_back(unit: Unit, order: Order) -> bool:
    """Whether the contract of an order has a call for refunds: ours has, another where its binding says so."""
    if order.rail != "call":
        return order.rail == "checkout"
    contract = unit.contract(order.contract_slug, order.network)
    return contract is not None and contract.refund_method is not None


def _gives_membership(unit: Unit, order: Order) -> bool:
    if order.rail != "call":
        return order.rail == "checkout"
    contract = unit.contract(order.contract_slug, order.network)
    return contract is not None and contract.burn_method is not None
