"""The finance queue: what a person must decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Literal

import attrs
from attrs import frozen

from evmbilling.domain.allocation import GIVEN_BACK
from evmbilling.domain.money import Asset
from evmbilling.domain.receipts import Receipt
from evmbilling.domain.states import SUPPORTING_RECEIPTS, ReceiptStatus

QueueKind = Literal[
    "suspense", "held", "duplicate", "reversed", "token_halted", "refund_approval", "write_off_approval"
]
QueueState = Literal["open", "decided", "withdrawn"]
Ruling = Literal["assign", "credit", "refund", "write_off", "release", "acknowledge"]


@frozen(kw_only=True)
class QueueItem:
    """Something that a person must decide, unique by (kind, subject).

    Attributes:
        subject: what it is about: ``receipt:<id>``, ``refund:<id>``, ``order:<id>``, ``token:<chain id>:<address>``.
        reason: stable code.
        ruling: what was decided; ``decided_by`` the actor's opaque id. An open item with a ruling waits for a second
            person.

    """

    item_id: str
    kind: QueueKind
    subject: str
    reason: str
    user_id: str | None = None
    ledger_id: str | None = None
    receipt_id: str | None = None
    refund_id: str | None = None
    asset: Asset | None = None
    amount: int = 0
    opened_at: datetime
    state: QueueState = "open"
    ruling: Ruling | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    note: str = ""
    version: int = 1


HOLD = "screen_hold"
"""Why a receipt waits although an order explains it: the host's screen said so, or failed."""
DUST = "dust"
_LIVE = SUPPORTING_RECEIPTS | {ReceiptStatus.SEEN}
_OF_RECEIPTS: tuple[QueueKind, ...] = ("suspense", "held", "duplicate", "reversed")


def receipt_subject(receipt_id: str) -> str:
    """Name a receipt as what an item is about."""
    return f"receipt:{receipt_id}"


def token_subject(chain_id: int, token: str) -> str:
    """Name a token as what an item is about."""
    return f"token:{chain_id}:{token}"


def asks(receipt: Receipt, *, had_paid: bool) -> tuple[QueueKind, str] | None:
    """Return what a person has to decide about a receipt, and why; None for nothing.

    ``had_paid`` says whether its order was paid before the chain took money back.
    """
    if receipt.status is ReceiptStatus.REVERSED:
        gone = receipt.allocation == "refunded" or receipt.reason == GIVEN_BACK
        return ("reversed", "taken_back") if gone or (receipt.allocation == "order" and had_paid) else None
    if receipt.status not in _LIVE:
        return None
    if receipt.allocation == "suspense" and receipt.reason != DUST:
        return ("held" if receipt.reason == HOLD else "suspense"), receipt.reason or ""
    if receipt.allocation == "credit" and receipt.reason in {"duplicate", "period_paid"}:
        return "duplicate", receipt.reason
    return None


def follow_queue(
    receipt: Receipt,
    stored: Iterable[QueueItem],
    *,
    had_paid: bool,
    now: datetime,
    new_id: Callable[[], str],
) -> tuple[QueueItem, ...]:
    """Return the items about a receipt that change: opened, opened again, or withdrawn because the reason is gone.

    What a person has decided stays decided.
    """
    items: Mapping[QueueKind, QueueItem] = {
        item.kind: item for item in stored if item.subject == receipt_subject(receipt.receipt_id)
    }
    known = items.get("reversed")
    wanted = asks(receipt, had_paid=had_paid or (known is not None and known.state == "open"))
    changed: list[QueueItem] = []
    for kind in _OF_RECEIPTS:
        item = items.get(kind)
        is_wanted = wanted is not None and wanted[0] == kind
        if wanted is not None and is_wanted and item is None:
            changed.append(_open(receipt, kind, wanted[1], now, new_id()))
        elif wanted is not None and is_wanted and item is not None and item.state == "withdrawn":
            changed.append(attrs.evolve(item, state="open", reason=wanted[1], version=item.version + 1))
        elif not is_wanted and item is not None and item.state == "open":
            changed.append(attrs.evolve(item, state="withdrawn", version=item.version + 1))
    return tuple(changed)


def _open(receipt: Receipt, kind: QueueKind, reason: str, now: datetime, item_id: str) -> QueueItem:
    return QueueItem(
        item_id=item_id,
        kind=kind,
        subject=receipt_subject(receipt.receipt_id),
        reason=reason,
        user_id=receipt.user_id,
        ledger_id=receipt.ledger_id,
        receipt_id=receipt.receipt_id,
        asset=receipt.asset,
        amount=receipt.amount,
        opened_at=now,
    )
