"""What received money counts for: a fold over what stands on chain, in chain order.

Which payment was first is decided by the chain and not by when or in which order we learned of it, so that a payment
which disappears hands its place to the next one, and a reader that was away ends where the others are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from evmbilling.domain.judgement import Place
from evmbilling.domain.orders import Order
from evmbilling.domain.receipts import Receipt, chain_position
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, SUPPORTING_RECEIPTS, ReceiptStatus, SubscriptionStatus

_LIVE = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}
_FOR_ORDER: Place = ("order", None)


def allocate(
    orders: Sequence[Order],
    receipts: Sequence[Receipt],
    *,
    known: Collection[str] = (),
    status: SubscriptionStatus | None = None,
) -> Mapping[str, Place]:
    """Return, by receipt id, what the live money of these orders counts for.

    Money that counts already goes before money that is only seen, so that a payment which is not deep enough never
    takes the place of one that gave access. Suspense is a person's to decide and left out.

    Args:
        orders: all orders of one subscription, or one order without.
        receipts: theirs.
        known: ids of the receipts that were stored before.
        status: of the subscription. When it has ended, what was placed before stays and what is new is the
            customer's credit; when it was given up unpaid, everything is.

    """
    by_id = {order.ledger_id: order for order in orders}
    live = [r for r in receipts if r.ledger_id in by_id and r.status in _LIVE and r.allocation != "suspense"]
    places: dict[str, Place] = {}
    paid: dict[str, int] = defaultdict(int)
    done: dict[int, str] = {}
    for receipt in sorted(live, key=lambda r: (r.status not in SUPPORTING_RECEIPTS, chain_position(r))):
        order = by_id[receipt.ledger_id or ""]
        place = _place(receipt, order, paid[order.ledger_id], ended=_ended(receipt, known, status))
        places[receipt.receipt_id] = place
        if place == _FOR_ORDER:
            paid[order.ledger_id] += receipt.amount
        if order.period is not None and paid[order.ledger_id] >= order.amount:
            done.setdefault(order.period, order.ledger_id)
    return places | _for_paid_periods(live, places, by_id, done)


def _ended(receipt: Receipt, known: Collection[str], status: SubscriptionStatus | None) -> Place | None:
    """Return where money for a subscription that is over goes; None while it is not."""
    if status is None or status in LIVE_SUBSCRIPTIONS:
        return None
    if status is SubscriptionStatus.ENDED and receipt.receipt_id in known:
        return receipt.allocation, receipt.reason
    return "credit", "subscription_ended"


def _place(receipt: Receipt, order: Order, paid: int, *, ended: Place | None) -> Place:
    if receipt.evidence.block_time > order.deadline:
        return "credit", "late"
    if ended is not None:
        return ended
    if paid >= order.amount:
        return "credit", "duplicate"
    return _FOR_ORDER


def _for_paid_periods(
    live: Sequence[Receipt], places: Mapping[str, Place], by_id: Mapping[str, Order], done: Mapping[int, str]
) -> dict[str, Place]:
    """Return what was paid, in part or in full, for orders whose period another order paid first."""
    left: dict[str, Place] = {}
    for receipt in live:
        order = by_id[receipt.ledger_id or ""]
        payer = done.get(order.period) if order.period is not None else None
        if places[receipt.receipt_id] == _FOR_ORDER and payer not in (None, order.ledger_id):
            left[receipt.receipt_id] = ("credit", "period_paid")
    return left
