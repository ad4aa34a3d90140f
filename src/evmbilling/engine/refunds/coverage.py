"""Whether the money that a refund returns is there: the chain may have taken it back, or have given it back already."""

from __future__ import annotations

from collections.abc import Iterable

from evmbilling.domain.payments.credit import on_its_way
from evmbilling.domain.payments.receipts import Receipt, Refund
from evmbilling.domain.refunds.refunds import SURE, refundable_of_order
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS, RefundStatus
from evmbilling.engine.intake.purses import load_purse
from evmbilling.engine.refunds.limits import check_alone
from evmbilling.errors import Conflict
from evmbilling.ports.storage import Unit

_ON_CHAIN = frozenset({RefundStatus.CONFIRMING, RefundStatus.DONE})


def check_covered(unit: Unit, refund: Refund) -> None:
    """Refuse what is no longer covered: the chain may have taken a payment back since the refund was asked for.

    Raises:
        Conflict: it is not.

    """
    if refund.ledger_id is not None:
        order = unit.order(refund.ledger_id)
        others = [r for r in unit.refunds_of_order(refund.ledger_id) if r.refund_id != refund.refund_id]
        receipts = unit.receipts_of_orders([refund.ledger_id])
        covered = order is not None and (
            refundable_of_order(order, receipts, others) >= refund.amount
            or _covered_as_credit(unit, order, receipts, [*others, refund])
        )
    else:
        receipt = unit.receipts([refund.receipt_id]).get(refund.receipt_id) if refund.receipt_id else None
        there = receipt is not None and receipt.status in SURE and receipt.allocation == "refunded"
        # What goes back is out of the customer's account already: no more than that account held.
        enough = refund.user_id is None or load_purse(unit, refund.user_id, refund.asset).free() >= 0
        covered = (there or refund.receipt_id is None) and enough
    if not covered:
        raise Conflict("the chain has taken back what this refund would return", field="refund_id")
    check_alone(unit, refund)


def _covered_as_credit(unit: Unit, order: Order, receipts: Iterable[Receipt], refunds: Iterable[Refund]) -> bool:
    """Whether an order's money, which buys nothing any more, lies in the customer's account for its refunds."""
    there = sum(r.amount for r in receipts if r.allocation == "credit" and r.status in SURE)
    if order.status in PAID_ORDERS or there < on_its_way(refunds):
        return False
    return load_purse(unit, order.user_id, order.asset).free() >= 0


def went_back(unit: Unit, receipt: Receipt) -> bool:
    """Whether the chain shows the refund of a receipt: one that was given up may have been sent all the same."""
    users = [receipt.user_id] if receipt.user_id is not None else []
    there = (*unit.refunds_by(addresses=[receipt.payer]), *(unit.refunds_by(users=users) if users else ()))
    return any(r.receipt_id == receipt.receipt_id and r.status in _ON_CHAIN for r in there)
