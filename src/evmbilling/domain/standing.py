"""Standing: where orders and subscriptions are, folded from facts.

A reorg, a late payment and a rebuild are the same code: remove or add the fact, and recompute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import attrs
from attrs import frozen

from evmbilling.domain.calendar import boundary
from evmbilling.domain.orders import Completion, Order
from evmbilling.domain.receipts import Receipt, chain_position, paid_at
from evmbilling.domain.states import (
    OPEN_ORDERS,
    ORDER_MOVES,
    PAID_ORDERS,
    SUBSCRIPTION_MOVES,
    SUPPORTING_RECEIPTS,
    OrderStatus,
    ReceiptStatus,
    SubscriptionStatus,
    check_move,
    check_reachable,
)
from evmbilling.domain.subscriptions import Subscription, SubscriptionChange

_LADDER = (OrderStatus.CONFIRMING, OrderStatus.CONFIRMED, OrderStatus.FINAL)


@frozen(kw_only=True)
class Standing:
    """What the facts of a subscription come to; see :class:`Subscription` for the fields."""

    status: SubscriptionStatus
    anchor: datetime | None = None
    paid_periods: int = 0
    paid_until: datetime | None = None
    next_charge_at: datetime | None = None
    cancel_at_period_end: bool = False
    debt: int = 0


def completing_receipt(order: Order, receipts: Iterable[Receipt]) -> Receipt | None:
    """Return the receipt with which the supporting money of an order reached its amount, in chain order."""
    paid = 0
    for receipt in sorted(_of_order(order, receipts), key=chain_position):
        if receipt.status in SUPPORTING_RECEIPTS:
            paid += receipt.amount
            if paid >= order.amount:
                return receipt
    return None


def order_standing(order: Order, receipts: Iterable[Receipt]) -> Order:
    """Return the order as its receipts leave it.

    Raises:
        IllegalTransition: the move is not in ``ORDER_MOVES``.

    """
    own = list(_of_order(order, receipts))
    completing = completing_receipt(order, own)
    after = _order_status(order, own)
    _check_order_move(order.status, after)
    completion = None
    if completing is not None:
        completion = Completion(
            tx_hash=completing.identity.tx_hash,
            log_index=completing.evidence.log_index,
            block_number=completing.evidence.block_number,
            block_hash=completing.evidence.block_hash,
            confirmed_at=completing.evidence.block_time,
        )
    return attrs.evolve(order, status=after, completion=completion)


def _order_status(order: Order, own: Sequence[Receipt]) -> OrderStatus:
    def total(*statuses: ReceiptStatus) -> int:
        return sum(r.amount for r in own if r.status in statuses)

    supporting, final = total(*SUPPORTING_RECEIPTS), total(ReceiptStatus.FINAL)
    live = supporting + total(ReceiptStatus.SEEN)
    has_live = any(r.status in SUPPORTING_RECEIPTS or r.status is ReceiptStatus.SEEN for r in own)
    # Disputed money still counts, so a final order stays final until a person says otherwise.
    is_final = final >= order.amount or order.status is OrderStatus.FINAL
    is_reversed = order.status is OrderStatus.REVERSED and order.closed_as is not OrderStatus.EXPIRED
    table = (
        (has_live and supporting >= order.amount, OrderStatus.FINAL if is_final else OrderStatus.CONFIRMED),
        # First of all a paid order is reversed; what follows from there is another move.
        (order.status in PAID_ORDERS, OrderStatus.REVERSED),
        (has_live and live >= order.amount, OrderStatus.CONFIRMING),
        (is_reversed, OrderStatus.REVERSED),
        (order.closed_as is not None, order.closed_as or order.status),
        (live > 0, OrderStatus.PARTIALLY_PAID),
        (order.status in {OrderStatus.CONFIRMING, OrderStatus.PARTIALLY_PAID}, OrderStatus.PENDING),
    )
    return next((status for holds, status in table if holds), order.status)


def _check_order_move(before: OrderStatus, after: OrderStatus) -> None:
    """Check the move rung by rung: a reader that was away sees several confirmations at once."""
    if after not in _LADDER:
        check_move(ORDER_MOVES, before, after)
        return
    start = _LADDER.index(before) + 1 if before in _LADDER else 0
    for rung in _LADDER[start : _LADDER.index(after) + 1] or (after,):
        # What was partially confirmed is completed in one step.
        check_move(ORDER_MOVES, before, rung)
        before = rung


def standing(
    subscription: Subscription,
    orders: Sequence[Order],
    receipts: Sequence[Receipt],
    changes: Sequence[SubscriptionChange],
    now: datetime,
) -> Standing:
    """Fold the facts of a subscription into where it stands at ``now``.

    Raises:
        IllegalTransition: the result cannot follow from the stored status.

    """
    flags = _flags(changes, now)
    first_payers = paying_receipts(orders, receipts)
    anchor = _anchor(subscription, orders, first_payers)
    paid = _contiguous(first_payers)
    paid_until = _boundary(subscription, anchor, paid) if paid else None
    status = _status(subscription, flags, paid_until, now)
    check_reachable(SUBSCRIPTION_MOVES, subscription.status, status)
    ended = status in {SubscriptionStatus.ENDED, SubscriptionStatus.INCOMPLETE_EXPIRED}
    leaving = flags["cancel_at_period_end"]
    owes = [o.amount for o in orders if o.period == paid and o.status in OPEN_ORDERS]
    due = paid_until is not None and paid_until <= now and not (ended or leaving)
    return Standing(
        status=status,
        anchor=anchor,
        paid_periods=paid,
        paid_until=paid_until,
        next_charge_at=None if ended or leaving else (paid_until or subscription.trial_end),
        cancel_at_period_end=leaving,
        debt=max(owes, default=0) if due else 0,
    )


def apply_standing(subscription: Subscription, result: Standing) -> Subscription:
    """Return the subscription with its projection replaced."""
    return attrs.evolve(subscription, **attrs.asdict(result, recurse=False))


def paying_receipts(orders: Sequence[Order], receipts: Sequence[Receipt]) -> dict[int, Receipt]:
    """Return, for each paid period, the receipt that paid it first in chain order."""
    by_order: Mapping[str | None, list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        by_order[receipt.ledger_id].append(receipt)
    firsts: dict[int, Receipt] = {}
    for order in orders:
        completing = completing_receipt(order, by_order[order.ledger_id])
        if completing is None or order.period is None:
            continue
        best = firsts.get(order.period)
        if best is None or chain_position(completing) < chain_position(best):
            firsts[order.period] = completing
    return firsts


def _anchor(subscription: Subscription, orders: Sequence[Order], firsts: Mapping[int, Receipt]) -> datetime | None:
    """Block time of the receipt that completed period 0, bounded by what we saw; never before trial or start."""
    receipt = firsts.get(0)
    if receipt is None:
        return None
    asked = min(o.created_at for o in orders if o.ledger_id == receipt.ledger_id)
    begun = (paid_at(receipt, asked), subscription.start_at, subscription.trial_end)
    return max(t for t in begun if t is not None)


def _contiguous(periods: Mapping[int, Receipt]) -> int:
    count = 0
    while count in periods:
        count += 1
    return count


def _boundary(subscription: Subscription, anchor: datetime | None, index: int) -> datetime | None:
    return boundary(anchor, subscription.interval, subscription.zone, index) if anchor else None


def _flags(changes: Sequence[SubscriptionChange], now: datetime) -> dict[str, bool]:
    flags = dict.fromkeys(("cancel_at_period_end", "end", "pause", "suspend", "expire"), False)
    undo = {"undo_cancel": "cancel_at_period_end", "resume": "pause", "unsuspend": "suspend"}
    for change in sorted(changes, key=lambda c: c.seq):
        if change.effective_at <= now:
            flags[undo.get(change.kind, change.kind)] = change.kind not in undo
    return flags


def _status(
    subscription: Subscription, flags: Mapping[str, bool], paid_until: datetime | None, now: datetime
) -> SubscriptionStatus:
    had = paid_until or subscription.trial_end
    left = flags["cancel_at_period_end"] and had is not None and now >= had
    over = {SubscriptionStatus.ENDED, SubscriptionStatus.INCOMPLETE_EXPIRED}
    table = (
        # What is over stays over: a payment that is reversed or restored afterwards moves money, not the standing.
        (subscription.status in over, subscription.status),
        (flags["end"] or left, SubscriptionStatus.ENDED),
        (flags["expire"], SubscriptionStatus.INCOMPLETE_EXPIRED),
        (flags["pause"], SubscriptionStatus.PAUSED),
        (subscription.start_at is not None and now < subscription.start_at, SubscriptionStatus.SCHEDULED),
        (subscription.trial_end is not None and now < subscription.trial_end, SubscriptionStatus.TRIALING),
        (had is None, SubscriptionStatus.INCOMPLETE),
        (paid_until is not None and now < paid_until, SubscriptionStatus.ACTIVE),
        (flags["suspend"], SubscriptionStatus.SUSPENDED),
    )
    return next((status for holds, status in table if holds), SubscriptionStatus.PAST_DUE)


def _of_order(order: Order, receipts: Iterable[Receipt]) -> Iterable[Receipt]:
    return (r for r in receipts if r.ledger_id == order.ledger_id and r.allocation == "order")
