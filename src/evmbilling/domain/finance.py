"""The finance queue: what a person must decide."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen

from evmbilling.domain.money import Asset

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
        ruling: what was decided; ``decided_by`` the actor's opaque id.

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
