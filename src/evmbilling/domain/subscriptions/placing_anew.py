"""Placing a subscription's money anew, because a decision leaves other orders that buy something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import attrs
from attrs import field, frozen

from evmbilling.domain.books.ledger import Balance
from evmbilling.domain.decisions import StoreQueueItem
from evmbilling.domain.payments.allocation import allocate
from evmbilling.domain.payments.finance import QueueItem, follow_queue
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.marks import follow_mark, lost_mark
from evmbilling.domain.subscriptions.rivals import stale_orders
from evmbilling.domain.subscriptions.telling import tell_order, tell_unmatched


@frozen(kw_only=True)
class Around:
    """What placing has to know beyond the subscription itself.

    Attributes:
        policies: of gateways, by slug.
        queue: items of the finance queue about the subscription's receipts, and its orders that bear a mark.
        balances: of its orders: what is still deferred of them.

    """

    policies: Mapping[str, MisfitPolicy] = field(factory=dict)
    queue: Sequence[QueueItem] = ()
    balances: Sequence[Balance] = ()


def place_anew(draft: SubscriptionDraft, around: Around) -> None:
    """Say anew what the money of a subscription counts for, and fold the orders that it moves to or from.

    What buys nothing any more is the customer's credit, and comes back to its order when that holds again; what a
    person decided stays.
    """
    draft.balances = around.balances
    receipts = draft.receipts
    place = partial(
        allocate,
        draft.all_orders,
        receipts,
        known={receipt.receipt_id for receipt in receipts},
        status=draft.held.status,
        policies=around.policies,
    )
    places = place()
    stale = stale_orders(draft.held, draft.all_orders, receipts, draft.changes, places, plans=draft.facts.plans)
    places = place(stale=stale) if stale else places
    moved: dict[str, None] = {}
    for receipt in receipts:
        allocation, reason = places.get(receipt.receipt_id, (receipt.allocation, receipt.reason))
        if (allocation, reason) == (receipt.allocation, receipt.reason):
            continue
        after = attrs.evolve(receipt, allocation=allocation, reason=reason, version=receipt.version + 1)
        order = draft.orders[receipt.ledger_id or ""]
        draft.take_money(after)
        moved[order.ledger_id] = None
        had_paid = order.status in PAID_ORDERS
        asked = follow_queue(after, around.queue, had_paid=had_paid, now=draft.now, new_id=draft.new_id)
        draft.add(*(StoreQueueItem(item) for item in asked))
        if receipt.allocation == "order":
            tell_unmatched(draft.journal, after, order)
    for ledger_id in moved:
        before = draft.orders[ledger_id]
        tell_order(draft.journal, before, draft.put(before), occurred_at=draft.as_of)
    for order in draft.all_orders:
        if order.manual is not None:
            # What was taken another way for what buys nothing now is for whoever took it to give back.
            lost = lost_mark(order, draft.all_orders, draft.receipts, stale=order.ledger_id in stale)
            item = follow_mark(order, lost, around.queue, now=draft.now, new_id=draft.new_id)
            draft.add(*([] if item is None else [StoreQueueItem(item)]))
