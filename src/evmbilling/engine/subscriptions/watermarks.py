"""How far payments are known: nothing falls due, is dunned or ends later than that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from attrs import frozen

from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.ports.storage import Unit

_MOMENT = timedelta(microseconds=1)


@frozen
class Watermarks:
    """What of each network is read and taken in.

    Attributes:
        read: the time of the last block that was read, by chain.
        known: the instant up to which every payment is known, by chain; a chain that is halted has none.

    """

    read: Mapping[int, datetime]
    known: Mapping[int, datetime]

    def as_of(self, subscription: Subscription, orders: Sequence[Order], now: datetime) -> datetime | None:
        """Return as far as payments of a subscription are known, and not later than the clock; None for not at all.

        That is the watermark of every network on which it could have been paid: where it is asked for, and where an
        order of a period that is not settled can still be paid, as far as that network has been read.
        """
        chains = {subscription.chain_id}
        for order in orders:
            open_ = order.period is not None and order.period >= subscription.paid_periods
            read = self.read.get(order.chain_id)
            if open_ and order.status not in PAID_ORDERS and (read is None or order.late_after >= read):
                chains.add(order.chain_id)
        marks = [self.known.get(chain_id) for chain_id in chains if chain_id is not None]
        if not marks or None in marks:
            return None
        return min(now, *(mark for mark in marks if mark is not None))


def read_watermarks(unit: Unit) -> Watermarks:
    """Return how far each network is known: up to its last block, or to the oldest that is not taken in."""
    read, known = {}, {}
    for cursor in unit.cursors():
        read[cursor.chain_id] = cursor.block.timestamp
        if cursor.halt is None:
            waiting = unit.oldest_waiting(cursor.chain_id)
            mark = cursor.block.timestamp
            known[cursor.chain_id] = mark if waiting is None else min(mark, waiting - _MOMENT)
    return Watermarks(read=read, known=known)
