"""The rule of payments: what evidence about one customer's orders means.

Facts and evidence in, decisions out. A receipt follows its evidence; orders, subscriptions and entitlements are then
folded anew from the receipts, so that confirming, reversing and restoring are the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import attrs

from evmbilling.domain.books.bookkeeping import BookFacts, book_changes
from evmbilling.domain.decisions import (
    AppendEntry,
    Decision,
    Publish,
    StoreItem,
    StoreQueueItem,
    StoreReceipt,
)
from evmbilling.domain.journal import asset_facts
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.customer_facts import CustomerFacts
from evmbilling.domain.payments.draft import Draft
from evmbilling.domain.payments.finance import QueueItem, follow_queue, is_changed
from evmbilling.domain.payments.judgement import (
    Sighting,
    contradicts,
    follow_evidence,
    next_look,
    put_aside,
)
from evmbilling.domain.payments.receipts import Receipt


def settle_payments(
    facts: CustomerFacts, sightings: Sequence[Sighting], *, now: datetime, new_id: Callable[[], str]
) -> tuple[Decision, ...]:
    """Decide what a customer's sightings, all of one chain, mean.

    Raises:
        IllegalTransition: the stored rows contradict the state tables; the caller parks the items.

    """
    depths = sightings[0].depths
    draft = Draft(facts, now, new_id, here=sightings[0].item.identity.chain_id, disputed_access=depths.disputed_access)
    for sighting in sightings:
        draft.take(sighting)
    return draft.settle()


def settle_unmatched(
    sighting: Sighting,
    *,
    asset: Asset,
    reason: str,
    now: datetime,
    new_id: Callable[[], str],
    queue: Sequence[QueueItem] = (),
) -> tuple[Decision, ...]:
    """Decide about money that no order of ours explains: it is kept in suspense with its reason and gives no access."""
    before, observation = sighting.receipt, sighting.observation
    changed = before is not None and observation is not None and contradicts(observation, before, None)
    sighting = attrs.evolve(sighting, observation=None if changed else observation, changed=changed)
    receipt, entries = follow_evidence(sighting, now=now, new_id=new_id, place=("suspense", reason), asset=asset)
    decisions: list[Decision] = [StoreReceipt(receipt)] if receipt is not None and receipt != before else []
    decisions += [AppendEntry(entry) for entry in entries]
    known, kept = (BookFacts(receipts=() if r is None else (r,)) for r in (before, receipt))
    decisions += book_changes(known, kept, now=now, new_id=new_id)
    if receipt is not None and (receipt != before or changed or is_changed(receipt, queue)):
        items = follow_queue(receipt, queue, had_paid=False, changed=changed, now=now, new_id=new_id)
        decisions += [StoreQueueItem(item) for item in items]
        if before is None and items:
            decisions.append(Publish(_unclaimed(receipt, now, new_id())))
    return (*decisions, StoreItem(put_aside(sighting.item, now) if changed else next_look(sighting, receipt)))


def _unclaimed(receipt: Receipt, now: datetime, event_id: str) -> Event:
    """Return what tells the operators of money that waits for them: a receipt has one, so it is told once."""
    return Event(
        event_id=event_id,
        type=EventType.PAYMENT_UNCLAIMED,
        aggregate=f"receipt:{receipt.receipt_id}",
        seq=1,
        occurred_at=receipt.evidence.block_time,
        recorded_at=now,
        data=asset_facts(receipt.asset)
        | {
            "receipt_id": receipt.receipt_id,
            "tx_hash": "0x" + receipt.identity.tx_hash.hex(),
            "received": str(receipt.amount),
            "payer": receipt.payer,
            "reason": receipt.reason,
        },
    )
