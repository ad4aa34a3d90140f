"""What verification says: typed differences with stable codes, and what was looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from attrs import define, field, frozen

Code = Literal[
    "entry_unbalanced",
    "entry_unknown",
    "sum_not_zero",
    "balance_differs",
    "receipt_not_booked",
    "order_not_booked",
    "refund_not_booked",
    "movement_not_booked",
    "receipt_evidence_differs",
    "receipt_journal_differs",
    "order_projection_differs",
    "subscription_projection_differs",
    "entitlement_differs",
    "month_given_back_counts",
    "refund_evidence_differs",
    "refund_record_differs",
    "refund_exceeds_order",
    "refund_exceeds_receipt",
    "refund_exceeds_credit",
    "refunds_exceed_receipts",
    "queue_item_missing",
    "queue_item_differs",
    "wallet_record_differs",
    "movement_class_differs",
    "movement_evidence_differs",
    "receipt_without_movement",
    "unexplained_delta",
    "transfer_not_read",
    "unproved",
    "seal_broken",
    "sealed_row_changed",
    "sealed_row_missing",
    "row_unsealed",
]
"""Stable; never changes its meaning within a major version."""

Progress = Callable[[str, int], None]
"""Told how many rows of a table have been looked at so far."""


@frozen(kw_only=True)
class Difference:
    """One thing that is not what it should be.

    Attributes:
        subject: what it is about, by id: ``receipt:<id>``, ``order:<id>``, ``ledger_entries:<id>``,
            ``treasury:<chain id>:<address>:<token>``, …
        expected, found: as text; amounts are base units, credit positive.
        reason: a stable word that says more, where there is more to say.

    """

    code: Code
    subject: str
    expected: str = ""
    found: str = ""
    reason: str = ""


@frozen(kw_only=True)
class CoinDelta:
    """A treasury's native coin: what it holds, what the books say, and the delta, which is reported and no difference.

    A coin moves without a log, so nothing on chain names every movement of it.
    """

    chain_id: int
    treasury: str
    balance: int
    booked: int

    @property
    def delta(self) -> int:
        """What the books do not explain."""
        return self.balance - self.booked


@frozen(kw_only=True)
class Report:
    """What was proved, and every difference.

    Attributes:
        counts: rows looked at, by name.
        waiting: movements on chain that the intake has not taken in yet; they are counted as the chain says.
        seals: ``proved`` as far as no difference says otherwise; ``off`` when nothing was ever sealed; ``no_key``
            when links are there but no key was given.
        head: number and MAC (hex) of the newest link, to compare with the log of the sealer.
        watermark: the link up to which rows had been compared by an earlier run and were not compared again.
        coins: native coin of every treasury.

    """

    differences: tuple[Difference, ...]
    counts: dict[str, int]
    waiting: int
    seals: Literal["proved", "off", "no_key"]
    head: str
    watermark: int
    coins: tuple[CoinDelta, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no difference."""
        return not self.differences


@define(kw_only=True)
class Findings:
    """Collects differences and counts while verification runs."""

    progress: Progress | None = None
    differences: list[Difference] = field(factory=list)
    counts: dict[str, int] = field(factory=dict)

    def add(self, code: Code, subject: str, *, expected: object = "", found: object = "", reason: str = "") -> None:
        """Note a difference."""
        self.differences.append(
            Difference(code=code, subject=subject, expected=str(expected), found=str(found), reason=reason)
        )

    def looked_at(self, name: str, rows: int) -> None:
        """Count rows, and tell whoever watches."""
        self.counts[name] = self.counts.get(name, 0) + rows
        if self.progress is not None:
            self.progress(name, self.counts[name])
