"""Memberships that end sooner than they were paid for, because the end of what was paid was given back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS, SUPPORTING_RECEIPTS
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange

_COMES_BACK: Final = frozenset({"change_replaced", "assigned_replaced"})
"""Why money is credit only while what it is for does not hold."""


def shortened(changes: Iterable[SubscriptionChange]) -> SubscriptionChange | None:
    """Return the change by which a membership leaves before the end of what was paid; None when none holds.

    Its ``period`` is the one with which it is over, its ``paid_to`` the first that was not paid then.
    """
    known = [c for c in changes if c.kind in {"cancel_at_period_end", "undo_cancel"}]
    last = max(known, key=lambda c: c.seq, default=None)
    return last if last is not None and last.kind == "cancel_at_period_end" and last.period is not None else None


def left_by_choice(changes: Iterable[SubscriptionChange]) -> bool:
    """Whether somebody had cancelled for the end of what is paid, apart from what was given back."""
    chosen = [c for c in changes if c.kind == "undo_cancel" or (c.kind == "cancel_at_period_end" and c.period is None)]
    return max(chosen, key=lambda c: c.seq).kind == "cancel_at_period_end" if chosen else False


def paid_if_nothing_was_decided(
    subscription: Subscription,
    orders: Iterable[Order],
    receipts: Sequence[Receipt],
    changes: Iterable[SubscriptionChange],
    given_back: Collection[int],
) -> int:
    """Return how many periods of a membership are paid one after another, as if none had been taken away.

    Money for periods behind the end that was decided is credit because of that. A period that was given back was paid,
    although the chain may have taken its payment back for now.
    """
    paid = {*range(subscription.paid_periods), *given_back}
    short = shortened(changes)
    for order in orders:
        if order.period is None:
            continue
        behind = short is not None and short.paid_to is not None and order.period >= short.paid_to
        if order.status in PAID_ORDERS or (behind and _waiting(order, receipts) >= order.enough):
            paid.add(order.period)
    count = 0
    while count in paid:
        count += 1
    return count


def _waiting(order: Order, receipts: Iterable[Receipt]) -> int:
    """Return what came for an order and is credit only while the order is behind the end."""
    return sum(
        r.amount
        for r in receipts
        if r.ledger_id == order.ledger_id
        and r.status in SUPPORTING_RECEIPTS
        and r.allocation == "credit"
        and r.reason in _COMES_BACK
    )
