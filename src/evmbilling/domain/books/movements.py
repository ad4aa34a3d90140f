"""Movements of figures: what finance counts, as rows that are only ever added.

A movement says that a figure (a *series*) changed by an amount, when that happened and when we learned of it. Movements
are derived from rows that never change themselves, ledger entries here and events in
:mod:`evmbilling.domain.books.mrr`, so they can be derived again at any time and come out the same. Nothing is edited:
what a reorganisation takes back is the opposite movement with the same effective time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from attrs import frozen

from evmbilling.domain.books.ledger import Account, Entry, EntryKind
from evmbilling.domain.money import Asset


class Series(StrEnum):
    """What is counted. Amounts of money are base units, of MRR numerators over ``per``; ``items`` counts things."""

    RECEIVED = "received"
    """Money that came to a treasury, whoever it was from; ``items`` counts payments."""
    REFUNDED = "refunded"
    """Money that went back; ``items`` counts refunds."""
    BILLED = "billed"
    """What complete orders, and periods that fell due, come to, with tax."""
    REVENUE = "revenue"
    """Earned, before what was given back."""
    RETURNED = "returned"
    """Given back of orders, without their share of tax: revenue less this is net revenue."""
    TAX = "tax"
    WRITTEN_OFF = "written_off"
    MRR_NEW = "mrr_new"
    MRR_EXPANSION = "mrr_expansion"
    MRR_CONTRACTION = "mrr_contraction"
    MRR_CHURN = "mrr_churn"
    MRR_REACTIVATION = "mrr_reactivation"
    PAYERS = "payers"
    """Customers who pay a subscription in an asset."""
    CUSTOMERS = "customers"
    """Customers who pay a subscription in any asset."""
    NONE = "none"
    """A fact that moves no figure; it has a row so that it is known to have been looked at."""


MONEY_SERIES = (
    Series.RECEIVED,
    Series.REFUNDED,
    Series.BILLED,
    Series.REVENUE,
    Series.RETURNED,
    Series.TAX,
    Series.WRITTEN_OFF,
)
MRR_SERIES = (
    Series.MRR_NEW,
    Series.MRR_EXPANSION,
    Series.MRR_CONTRACTION,
    Series.MRR_CHURN,
    Series.MRR_REACTIVATION,
)
STATUS_PREFIX = "in_"
"""Series of how many subscriptions stand in a status: the prefix, then the status."""
NO_ASSET = Asset(chain_id=0, token="0x" + "0" * 40, decimals=0, symbol="-")
"""Of figures that count people or subscriptions."""


@frozen(kw_only=True)
class Move:
    """One change of one figure.

    Attributes:
        source: what it was derived from, ``entry:<entry id>`` or ``event:<event id>``; unique with ``seq``.
        series: a :class:`Series`, or :data:`STATUS_PREFIX` and a status.
        per: what ``amount`` is divided by, so that a price per month stays exact; 1 for money.
        amount: may be negative.
        items: how many things are more or fewer.
        occurred_at: when it happened. recorded_at: when the fact behind it was written.
        subject: the subscription or order it is about, where there is one.

    """

    source: str
    seq: int
    series: str
    asset: Asset
    per: int = 1
    amount: int = 0
    items: int = 0
    occurred_at: datetime
    recorded_at: datetime
    subject: str | None = None

    @property
    def late(self) -> bool:
        """Whether we learned of it on another day (UTC) than it happened."""
        return self.occurred_at.astimezone(UTC).date() != self.recorded_at.astimezone(UTC).date()


_SALES = frozenset({EntryKind.COMPLETED, EntryKind.UNCOMPLETED, EntryKind.DUE})
_COUNTS: Mapping[EntryKind, tuple[Series, int]] = {
    EntryKind.RECEIVED: (Series.RECEIVED, 1),
    EntryKind.TAKEN_BACK: (Series.RECEIVED, -1),
    EntryKind.COMPLETED: (Series.BILLED, 1),
    EntryKind.UNCOMPLETED: (Series.BILLED, -1),
    EntryKind.REFUNDED: (Series.REFUNDED, 1),
    EntryKind.REFUND_REVERSED: (Series.REFUNDED, -1),
}


def moves_of_entry(entry: Entry) -> tuple[Move, ...]:
    """Return what a ledger entry moves; one movement of the series ``none`` when it moves nothing."""
    amounts = {series: amount for series, amount in _amounts(entry).items() if amount}
    counted, step = _COUNTS.get(entry.kind, (Series.NONE, 0))
    moved = {series: (amount, step if series is counted else 0) for series, amount in amounts.items()}
    return tuple(
        Move(
            source=f"entry:{entry.entry_id}",
            seq=seq,
            series=series,
            asset=entry.asset,
            amount=amount,
            items=items,
            occurred_at=entry.occurred_at,
            recorded_at=entry.recorded_at,
            subject=entry.ledger_id,
        )
        for seq, (series, (amount, items)) in enumerate((moved or {Series.NONE: (0, 0)}).items())
    )


def _amounts(entry: Entry) -> Mapping[Series, int]:
    """Return by how much each series of money changes, from what stands on which account."""
    net: dict[Account, int] = defaultdict(int)
    for line in entry.lines:
        # What is set aside for a refund has not gone back yet: only what orders bear is counted.
        if line.account is not Account.REFUNDS or line.owner.startswith("order:"):
            net[line.account] += line.amount if line.side == "credit" else -line.amount
    found: dict[Series, int] = {
        Series.REVENUE: net[Account.REVENUE],
        Series.RETURNED: -net[Account.REFUNDS],
        Series.TAX: net[Account.TAX],
        Series.WRITTEN_OFF: -net[Account.WRITE_OFF],
    }
    if entry.kind in {EntryKind.RECEIVED, EntryKind.TAKEN_BACK}:
        found[Series.RECEIVED] = -net[Account.TREASURY]
    if entry.kind in {EntryKind.REFUNDED, EntryKind.REFUND_REVERSED}:
        found[Series.REFUNDED] = net[Account.TREASURY]
    if entry.kind in _SALES:
        found[Series.BILLED] = net[Account.DEFERRED_REVENUE] + net[Account.REVENUE] + net[Account.TAX]
    return found
