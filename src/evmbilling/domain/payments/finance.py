"""The finance queue: what a person must decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Final, Literal

import attrs
from attrs import frozen

from evmbilling.domain.money import Asset
from evmbilling.domain.payments.allocation import GIVEN_BACK
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.states import SUPPORTING_RECEIPTS, ReceiptStatus

QueueKind = Literal[
    "suspense",
    "held",
    "duplicate",
    "reversed",
    "disputed",
    "evidence_changed",
    "token_halted",
    "contract_halted",
    "refund_approval",
    "write_off_approval",
]
QueueState = Literal["open", "decided", "withdrawn"]
Ruling = Literal["assign", "credit", "refund", "write_off", "release", "acknowledge", "accept", "reverse"]


@frozen(kw_only=True)
class QueueItem:
    """Something that a person must decide, unique by (kind, subject).

    Attributes:
        subject: what it is about: ``receipt:<id>``, ``refund:<id>``, ``order:<id>``, ``token:<chain id>:<address>``,
            ``contract:<chain id>:<address>``.
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
_OF_CHAIN: tuple[QueueKind, ...] = ("disputed", "evidence_changed")
"""What the chain itself asks: decided once, it may ask again."""
_OF_RECEIPTS: tuple[QueueKind, ...] = ("suspense", "held", "duplicate", "reversed", *_OF_CHAIN)


ABOUT_TOKENS, ABOUT_CONTRACTS = "token:", "contract:"
"""What the subjects of all items about tokens, and about bound contracts, begin with."""
DECIMALS_UNREAD: Final = "decimals_unread"
"""Why a token stands still that a plan was saved in while nobody could be asked: the next check looks, not a person."""
HALTS = frozenset({"token_halted", "contract_halted"})
"""Kinds of items that stop selling while they are open."""


def receipt_subject(receipt_id: str) -> str:
    """Name a receipt as what an item is about."""
    return f"receipt:{receipt_id}"


def order_subject(ledger_id: str) -> str:
    """Name an order as what an item is about."""
    return f"order:{ledger_id}"


def token_subject(chain_id: int, token: str) -> str:
    """Name a token as what an item is about."""
    return f"{ABOUT_TOKENS}{chain_id}:{token}"


def contract_subject(chain_id: int, address: str) -> str:
    """Name a bound contract as what an item is about."""
    return f"{ABOUT_CONTRACTS}{chain_id}:{address}"


def asks(receipt: Receipt, *, had_paid: bool, changed: bool = False) -> tuple[QueueKind, str] | None:
    """Return what a person has to decide about a receipt, and why; None for nothing.

    Args:
        receipt: as it is now.
        had_paid: whether its order was paid before the chain took money back.
        changed: whether the chain holds the same movement with another content.

    """
    if changed:
        return "evidence_changed", "evidence_changed"
    return (
        _asks_of(receipt) if receipt.status in _LIVE - {ReceiptStatus.DISPUTED} else _doubt(receipt, had_paid=had_paid)
    )


def _doubt(receipt: Receipt, *, had_paid: bool) -> tuple[QueueKind, str] | None:
    if receipt.status is ReceiptStatus.DISPUTED:
        return "disputed", "below_irreversible"
    if receipt.status is not ReceiptStatus.REVERSED:
        return None
    gone = receipt.allocation == "refunded" or receipt.reason == GIVEN_BACK
    return ("reversed", "taken_back") if gone or (receipt.allocation == "order" and had_paid) else None


def _asks_of(receipt: Receipt) -> tuple[QueueKind, str] | None:
    if receipt.allocation == "suspense" and receipt.reason != DUST:
        return ("held" if receipt.reason == HOLD else "suspense"), receipt.reason or ""
    if receipt.allocation == "credit" and receipt.reason in {"duplicate", "period_paid"}:
        return "duplicate", receipt.reason
    return None


def is_changed(receipt: Receipt, stored: Iterable[QueueItem]) -> bool:
    """Whether a person is asked about another content of this movement."""
    subject = receipt_subject(receipt.receipt_id)
    return any(i.kind == "evidence_changed" and i.subject == subject and i.state == "open" for i in stored)


def follow_queue(
    receipt: Receipt,
    stored: Iterable[QueueItem],
    *,
    had_paid: bool,
    changed: bool = False,
    now: datetime,
    new_id: Callable[[], str],
) -> tuple[QueueItem, ...]:
    """Return the items about a receipt that change: opened, opened again, or withdrawn because the reason is gone.

    What a person has decided stays decided, until the chain asks anew.
    """
    items: Mapping[QueueKind, QueueItem] = {
        item.kind: item for item in stored if item.subject == receipt_subject(receipt.receipt_id)
    }
    known = items.get("reversed")
    wanted = asks(receipt, had_paid=had_paid or (known is not None and known.state == "open"), changed=changed)
    moved: list[QueueItem] = []
    for kind in _OF_RECEIPTS:
        item = items.get(kind)
        is_wanted = wanted is not None and wanted[0] == kind
        # Money that is in suspense after a decision came back there: the decision was about what the chain said before.
        over = {"withdrawn", "decided"} if kind in (*_OF_CHAIN, "suspense", "held") else {"withdrawn"}
        if wanted is not None and is_wanted and item is None:
            moved.append(_open(receipt, kind, wanted[1], now, new_id()))
        elif wanted is not None and is_wanted and item is not None and item.state in over:
            moved.append(_again(item, receipt, wanted[1]))
        elif is_wanted and item is not None and item.state == "open" and item.amount != receipt.amount:
            moved.append(attrs.evolve(item, asset=receipt.asset, amount=receipt.amount, version=item.version + 1))
        elif not is_wanted and item is not None and item.state == "open":
            moved.append(attrs.evolve(item, state="withdrawn", version=item.version + 1))
    return tuple(moved)


def _again(item: QueueItem, receipt: Receipt, reason: str) -> QueueItem:
    asked = attrs.evolve(item, asset=receipt.asset, amount=receipt.amount, version=item.version + 1)
    return attrs.evolve(asked, state="open", reason=reason, ruling=None, decided_by=None, decided_at=None)


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
