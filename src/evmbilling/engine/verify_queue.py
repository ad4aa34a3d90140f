"""The finance queue against the money that waits in it: what nobody is asked about, nobody will ever decide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from evmbilling.domain.finance import QueueItem, asks, receipt_subject
from evmbilling.domain.receipts import Receipt, Refund
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.verify_report import Findings
from evmbilling.ports.storage import Unit

_UNTIL_DECIDED = frozenset({"suspense", "held", "disputed"})
"""Kinds that are open as long as the money is as it is: a decision moves it."""


def check_receipts_asked(unit: Unit, findings: Findings, receipts: Iterable[Receipt]) -> None:
    """Name receipts that a person has to decide about and that no item asks about."""
    wanted = {receipt_subject(r.receipt_id): question for r in receipts if (question := asks(r, had_paid=False))}
    items = _items(unit, wanted)
    for subject, (kind, reason) in wanted.items():
        # The chain may ask about the same money in other words first; one open question is enough.
        waits = any(item.state == "open" for item in items[subject])
        decided = any(item.state == "decided" and item.kind == kind for item in items[subject])
        if not waits and (kind in _UNTIL_DECIDED or not decided):
            findings.add("queue_item_missing", subject, expected=kind, reason=reason)


def check_refunds_asked(unit: Unit, findings: Findings, refunds: Iterable[Refund]) -> None:
    """Name refunds that wait for a second person and that no item asks about."""
    wanted = [f"refund:{refund.refund_id}" for refund in refunds if refund.status is RefundStatus.REQUESTED]
    items = _items(unit, wanted)
    for subject in wanted:
        if not any(item.state == "open" and item.kind == "refund_approval" for item in items[subject]):
            findings.add("queue_item_missing", subject, expected="refund_approval", reason="requested")


def _items(unit: Unit, subjects: Iterable[str]) -> dict[str, list[QueueItem]]:
    found: dict[str, list[QueueItem]] = defaultdict(list)
    wanted = list(subjects)
    for item in unit.queue_items_of(wanted) if wanted else ():
        found[item.subject].append(item)
    return found
