"""Which money completed an order, and which order paid a period first: folds in chain order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from attrs import frozen

from evmbilling.domain.payments.receipts import Receipt, chain_position, paid_at
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import SUPPORTING_RECEIPTS
from evmbilling.domain.subscriptions.periods import PeriodTable

_Position = tuple[datetime, int, int, int]


@frozen
class Paid:
    """That a period was paid: by which order, and when."""

    order: Order
    moment: datetime


def completing_receipt(order: Order, receipts: Iterable[Receipt]) -> Receipt | None:
    """Return the receipt with which the supporting money of an order was enough, in chain order."""
    paid = 0
    for receipt in sorted(of_order(order, receipts), key=chain_position):
        if receipt.status in SUPPORTING_RECEIPTS:
            paid += receipt.amount
            if paid >= order.enough:
                return receipt
    return None


def of_order(order: Order, receipts: Iterable[Receipt]) -> Iterable[Receipt]:
    """Return the receipts whose money counts for an order."""
    return (r for r in receipts if r.ledger_id == order.ledger_id and r.allocation == "order")


def payers(orders: Sequence[Order], receipts: Sequence[Receipt]) -> dict[int, Paid]:
    """Return, for each paid period, the order that paid it first in chain order, and when."""
    by_order: Mapping[str | None, list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        by_order[receipt.ledger_id].append(receipt)
    firsts: dict[int, tuple[_Position, Paid]] = {}
    for order in orders:
        if order.period is None:
            continue
        for position, moment in _moments(order, by_order[order.ledger_id]):
            found = (position, Paid(order, moment))
            known = firsts.get(order.period)
            firsts[order.period] = found if known is None or (position, moment) < (known[0], known[1].moment) else known
    return {period: paid for period, (_, paid) in firsts.items()}


def paying_moments(orders: Sequence[Order], receipts: Sequence[Receipt]) -> dict[int, datetime]:
    """Return, for each paid period, when it was paid: by the receipt that came first in chain order, or by a person."""
    return {period: paid.moment for period, paid in payers(orders, receipts).items()}


def paid_moment(order: Order, receipts: Iterable[Receipt]) -> datetime | None:
    """Return when an order was complete; None while it is not."""
    return min((moment for _, moment in _moments(order, list(receipts))), default=None)


def purchase_moment(order: Order, receipts: Iterable[Receipt]) -> datetime | None:
    """Return since when an order gives what it was for: its money came, or else a person said so; None while neither.

    Never before it was made, though a clock may have gone back since.
    """
    completing = completing_receipt(order, receipts)
    if completing is not None:
        return paid_at(completing, order.created_at)
    return max(order.manual.at, order.created_at) if order.manual is not None else None


def comes_too_late(offered: datetime | None, moment: datetime, table: PeriodTable | None) -> bool:
    """Whether a change within a period was paid when that was over: the difference was for its rest, and that is gone.

    Args:
        offered: when the difference was asked for; None where nothing was.
        moment: when it was paid.
        table: the subscription's periods.

    """
    if offered is None or table is None:
        return False
    return moment >= table.end(max(table.index_at(offered), 0))


def _moments(order: Order, receipts: Sequence[Receipt]) -> list[tuple[_Position, datetime]]:
    completing = completing_receipt(order, receipts)
    moments = [(chain_position(completing), paid_at(completing, order.created_at))] if completing else []
    if order.manual is not None:
        moments.append(((order.manual.at, 0, 0, 0), max(order.manual.at, order.created_at)))
    return moments
