"""Reads of figures: facts that are not taken in yet, movements, sums of them, and documents about payments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from attrs import frozen

from evmbilling.domain.books.figure_records import FigureState, JournalMark
from evmbilling.domain.books.ledger import Entry
from evmbilling.domain.books.movements import Move
from evmbilling.domain.books.receipt_documents import BuyerNote, ReceiptDocument
from evmbilling.domain.books.rollups import Cell, Grain
from evmbilling.domain.books.span_totals import Part, Total
from evmbilling.domain.messages.events import Event
from evmbilling.domain.subscriptions.subscriptions import Subscription


@frozen(kw_only=True)
class OrderCount:
    """How many orders stand in a status, by chain."""

    status: str
    chain_id: int
    orders: int


class FigureReads(Protocol):
    """What the folder reads and writes, and what reports are made of."""

    def figure_state(self, reader: str) -> FigureState:
        """Return how far a reader is; version 0 when it never began."""
        ...

    def unfolded_entries(self, since: datetime, limit: int) -> Sequence[Entry]:
        """Return ledger entries recorded at or after an instant that no movement names, by (recorded_at, entry id)."""
        ...

    def unread_journals(
        self, reader: str, types: Collection[str], since: datetime, limit: int
    ) -> Sequence[tuple[JournalMark, datetime]]:
        """Return journals with events of these types, recorded at or after an instant, above what the reader has read.

        Each with when its first unread one was recorded, by that and the aggregate. The mark of a journal that was
        never read has ``seq`` 0.
        """
        ...

    def journal_events(self, aggregate: str, types: Collection[str], *, after: int, limit: int) -> Sequence[Event]:
        """Return a page of an aggregate's events of these types by seq."""
        ...

    def figure_cells(
        self,
        grain: Grain,
        *,
        starts: Collection[datetime] | None = None,
        since: datetime | None = None,
        series: Collection[str] | None = None,
    ) -> Sequence[Cell]:
        """Return sums of a grain by key: those that start at these instants, or at ``since`` and later."""
        ...

    def figure_totals(self, parts: Collection[Part], series: Collection[str]) -> Sequence[Total]:
        """Return what the sums of these series come to for each place of the parts, in no order.

        One total for each place, series, chain, token and denominator of which there is a sum; one that comes to
        nothing may be left out. Exact, however large: a storage that cannot add whole numbers of any size leaves
        that to :func:`evmbilling.domain.books.span_totals.totals_of`.
        """
        ...

    def figure_moves(
        self,
        *,
        since: datetime,
        until: datetime,
        series: Collection[str] | None = None,
        recorded_after: datetime | None = None,
        late: bool | None = None,
    ) -> Sequence[Move]:
        """Return movements that happened in ``[since, until)``, by (source, seq).

        Args:
            since, until: when they happened.
            series: only these. recorded_after: only those that we learned of later than this.
            late: only those that we learned of on another day than they happened, or only the others.

        """
        ...

    def all_figure_moves(self, *, after: tuple[str, int] = ("", -1), limit: int = 1000) -> Sequence[Move]:
        """Return a page of movements by (source, seq)."""
        ...

    def order_counts(self, since: datetime, until: datetime) -> Sequence[OrderCount]:
        """Count the orders made in ``[since, until)`` by (status, chain id)."""
        ...

    def owing_subscriptions(self, *, after: str = "", limit: int = 1000) -> Sequence[Subscription]:
        """Return a page of subscriptions that are past due or suspended, by id."""
        ...


class DocumentReads(Protocol):
    """Numbered documents."""

    def last_serial(self, series: str) -> int:
        """Return the highest number given in a series; 0 when there is none."""
        ...

    def document(self, series: str, serial: int) -> ReceiptDocument | None:
        """Return a document by its number."""
        ...

    def documents_of_subjects(self, subjects: Collection[str]) -> Sequence[ReceiptDocument]:
        """Return the documents about these subjects, by (series, serial)."""
        ...

    def documents_of_user(
        self, user_id: str, *, before: tuple[str, int] | None = None, limit: int = 100
    ) -> Sequence[ReceiptDocument]:
        """Return a page of a user's documents below a number, the highest number of the last series first."""
        ...

    def buyer_note(self, series: str, serial: int) -> BuyerNote | None:
        """Return what was said about the buyer on a document, unless it was erased."""
        ...
