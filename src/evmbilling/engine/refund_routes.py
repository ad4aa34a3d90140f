"""Which way money goes back: the contract knows only the payments that it took itself."""

from __future__ import annotations

from evmbilling.domain.orders import Order
from evmbilling.domain.states import SUPPORTING_RECEIPTS
from evmbilling.ports.storage import Unit


def paid_through_contract(unit: Unit, order: Order) -> bool:
    """Whether the order's own contract took a payment of it; what was pulled under a mandate came another way."""
    if order.rail != "checkout":
        return False
    counted = [r.identity for r in unit.receipts_of_orders([order.ledger_id]) if r.status in SUPPORTING_RECEIPTS]
    return any(log.address == order.contract for log in unit.logs_of(counted).values())
