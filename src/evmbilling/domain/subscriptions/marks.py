"""Orders that a person marked as paid and that buy nothing: whoever took the money has to hear of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from evmbilling.domain.decisions import StoreQueueItem
from evmbilling.domain.payments.finance import QueueItem, order_subject
from evmbilling.domain.payments.paying import payers
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Order

if TYPE_CHECKING:
    from evmbilling.domain.payments.draft import Draft


def ask_about_marks(draft: Draft) -> Sequence[StoreQueueItem]:
    """Return the items about marked orders that change: opened where one buys nothing, withdrawn once it does.

    Money that was taken another way for what buys nothing is for whoever took it to give back.
    """
    found: list[StoreQueueItem] = []
    for order in draft.orders.values():
        if order.manual is not None:
            receipts = list(draft.receipts.values())
            lost = lost_mark(order, draft.family(order), receipts, stale=draft.buys_nothing(order))
            item = follow_mark(order, lost, draft.facts.queue, now=draft.now, new_id=draft.new_id)
            found += [] if item is None else [StoreQueueItem(item)]
    return found


def follow_mark(
    order: Order, lost: str | None, stored: Iterable[QueueItem], *, now: datetime, new_id: Callable[[], str]
) -> QueueItem | None:
    """Return the item about an order that a person marked as paid, where it changes; None where it does not.

    Args:
        order: that bears a mark.
        lost: why it buys nothing; None when it does.
        stored: items of the queue.
        now, new_id: the clock, and ids.

    """
    subject = order_subject(order.ledger_id)
    known = next((i for i in stored if i.kind == "duplicate" and i.subject == subject), None)
    if lost is None:
        is_open = known is not None and known.state == "open"
        return attrs.evolve(known, state="withdrawn", version=known.version + 1) if known and is_open else None
    if known is not None:
        asked = attrs.evolve(known, state="open", reason=lost, version=known.version + 1)
        return asked if known.state == "withdrawn" else None
    return QueueItem(
        item_id=new_id(),
        kind="duplicate",
        subject=subject,
        reason=lost,
        user_id=order.user_id,
        ledger_id=order.ledger_id,
        asset=order.asset,
        amount=order.amount,
        opened_at=now,
    )


def lost_mark(order: Order, family: Sequence[Order], receipts: Sequence[Receipt], *, stale: bool) -> str | None:
    """Say why an order that a person marked as paid buys nothing; None where it does.

    Args:
        order: that bears a mark.
        family: the orders of its subscription.
        receipts: theirs.
        stale: whether it is on terms that do not hold.

    """
    if stale:
        return "change_replaced"
    first = payers(family, receipts).get(order.period or 0)
    beside = order.period is not None and first is not None and first.order.ledger_id != order.ledger_id
    return "period_paid" if beside else None
