"""The finance queue against the money that waits in it: what nobody is asked about, nobody will ever decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import QueueItem, asks, order_subject, receipt_subject
from evmbilling.domain.payments.receipts import Receipt, Refund
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import RefundStatus
from evmbilling.domain.subscriptions.marks import lost_mark
from evmbilling.engine.verify.report import Findings
from evmbilling.ports.storage import Unit

_UNTIL_DECIDED = frozenset({"suspense", "held", "disputed"})
"""Kinds that are open as long as the money is as it is: a decision moves it."""


def check_receipts_asked(unit: Unit, findings: Findings, receipts: Iterable[Receipt]) -> None:
    """Name receipts that a person has to decide about and that no item asks about."""
    found = list(receipts)
    wanted = {receipt_subject(r.receipt_id): question for r in found if (question := asks(r, had_paid=False))}
    items = _items(unit, [receipt_subject(r.receipt_id) for r in found])
    for receipt in found:
        _compare(findings, items[receipt_subject(receipt.receipt_id)], receipt.amount, receipt.asset)
    for subject, (kind, reason) in wanted.items():
        # The chain may ask about the same money in other words first; one open question is enough.
        waits = any(item.state == "open" for item in items[subject])
        decided = any(item.state == "decided" and item.kind == kind for item in items[subject])
        if not waits and (kind in _UNTIL_DECIDED or not decided):
            findings.add("queue_item_missing", subject, expected=kind, reason=reason)


def check_refunds_asked(unit: Unit, findings: Findings, refunds: Iterable[Refund]) -> None:
    """Name refunds that wait for a second person and that no item asks about."""
    waiting = [refund for refund in refunds if refund.status is RefundStatus.REQUESTED]
    wanted = [f"refund:{refund.refund_id}" for refund in waiting]
    items = _items(unit, wanted)
    for refund in waiting:
        _compare(findings, items[f"refund:{refund.refund_id}"], refund.amount, refund.asset)
    for subject in wanted:
        if not any(item.state == "open" and item.kind == "refund_approval" for item in items[subject]):
            findings.add("queue_item_missing", subject, expected="refund_approval", reason="requested")


def check_marks_asked(
    unit: Unit, findings: Findings, family: Sequence[Order], receipts: Sequence[Receipt], stale: Collection[str]
) -> None:
    """Name orders of a subscription that a person marked as paid and that buy nothing, and that no item asks about.

    Args:
        unit: that reads. findings: where they are named.
        family: all orders of the subscription.
        receipts: theirs.
        stale: ids of those that are on terms which do not hold.

    """
    marked = [order for order in family if order.manual is not None]
    items = _items(unit, [order_subject(order.ledger_id) for order in marked])
    for order in marked:
        subject = order_subject(order.ledger_id)
        lost = lost_mark(order, family, receipts, stale=order.ledger_id in stale)
        _compare(findings, items[subject], order.amount, order.asset)
        asked = any(item.kind == "duplicate" and item.state != "withdrawn" for item in items[subject])
        if lost is not None and not asked:
            findings.add("queue_item_missing", subject, expected="duplicate", reason=lost)


def _compare(findings: Findings, items: Iterable[QueueItem], amount: int, asset: Asset) -> None:
    """Name open items that ask about another amount, or another asset, than there is: that is what people read.

    An approval asks about what it was when somebody asked for it; who agrees is refused when it is another by then.
    """
    for item in items:
        if item.state != "open" or item.kind == "write_off_approval":
            continue
        if item.amount != amount or item.asset is None or item.asset.token != asset.token:
            findings.add("queue_item_differs", item.subject, expected=amount, found=item.amount, reason=item.kind)


def _items(unit: Unit, subjects: Iterable[str]) -> dict[str, list[QueueItem]]:
    found: dict[str, list[QueueItem]] = defaultdict(list)
    wanted = list(subjects)
    for item in unit.queue_items_of(wanted) if wanted else ():
        found[item.subject].append(item)
    return found
