"""Figures and documents, in memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import assert_never

from evmbilling.adapters.memory.pages import page_after
from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.values import json_copy
from evmbilling.adapters.memory.versions import check_saved
from evmbilling.domain.books.figure_records import FigureState, JournalMark, RecordFigures
from evmbilling.domain.books.ledger import Entry
from evmbilling.domain.books.movements import Move
from evmbilling.domain.books.receipt_documents import BuyerNote, IssueDocument, ReceiptDocument
from evmbilling.domain.books.rollups import Cell, Grain
from evmbilling.domain.books.span_totals import Part, Total, totals_of
from evmbilling.domain.messages.events import Event
from evmbilling.domain.states import OWING_SUBSCRIPTIONS
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.errors import AlreadyExists
from evmbilling.ports.figures import OrderCount

FigureDecision = RecordFigures | IssueDocument


class MemoryFigures(Reads):
    """Implements :class:`evmbilling.ports.figures.FigureReads` and ``DocumentReads``."""

    def figure_state(self, reader: str) -> FigureState:
        """Return how far a reader is; version 0 when it never began."""
        return self._tables.figure_states.get(reader) or FigureState(reader=reader)

    def unfolded_entries(self, since: datetime, limit: int) -> Sequence[Entry]:
        """Return ledger entries recorded at or after an instant that no movement names, by (recorded_at, entry id)."""
        moves = self._tables.figure_moves
        found = [
            entry
            for entry in self._tables.postings.values()
            if entry.recorded_at >= since and moves.get((f"entry:{entry.entry_id}", 0)) is None
        ]
        return sorted(found, key=lambda entry: (entry.recorded_at, entry.entry_id))[:limit]

    def unread_journals(
        self, reader: str, types: Collection[str], since: datetime, limit: int
    ) -> Sequence[tuple[JournalMark, datetime]]:
        """Return journals with unread events of these types, with when the first of them was recorded."""
        marks, unread = self._tables.journal_marks, dict[str, tuple[JournalMark, datetime]]()
        for event in self._tables.events.values():
            if event.type not in types or event.recorded_at < since:
                continue
            mark = marks.get((reader, event.aggregate)) or JournalMark(reader=reader, aggregate=event.aggregate)
            if event.seq > mark.seq:
                first = min(event.recorded_at, unread.get(event.aggregate, (mark, event.recorded_at))[1])
                unread[event.aggregate] = (mark, first)
        return sorted(unread.values(), key=lambda found: (found[1], found[0].aggregate))[:limit]

    def journal_events(self, aggregate: str, types: Collection[str], *, after: int, limit: int) -> Sequence[Event]:
        """Return a page of an aggregate's events of these types by seq."""
        found = [e for e in self._tables.events.find("aggregate", aggregate) if e.type in types]
        return page_after(found, lambda e: e.seq, after, limit)

    def figure_cells(
        self,
        grain: Grain,
        *,
        starts: Collection[datetime] | None = None,
        since: datetime | None = None,
        series: Collection[str] | None = None,
    ) -> Sequence[Cell]:
        """Return sums of a grain by key: those that start at these instants, or at ``since`` and later."""
        found: Iterable[Cell] = self._tables.figure_sums.values()
        wanted = None if starts is None else set(starts)
        return sorted(
            (
                cell
                for cell in found
                if cell.grain == grain
                and (wanted is None or cell.starts_at in wanted)
                and (since is None or cell.starts_at >= since)
                and (series is None or cell.series in series)
            ),
            key=lambda cell: cell.key,
        )

    def figure_totals(self, parts: Collection[Part], series: Collection[str]) -> Sequence[Total]:
        """Return what the sums of these series come to for each place of the parts."""
        return totals_of(parts, series, ((cell.grain, cell.tally) for cell in self._tables.figure_sums.values()))

    def figure_moves(
        self,
        *,
        since: datetime,
        until: datetime,
        series: Collection[str] | None = None,
        recorded_after: datetime | None = None,
        late: bool | None = None,
    ) -> Sequence[Move]:
        """Return movements that happened in ``[since, until)``, by (source, seq)."""
        found = [
            move
            for move in self._tables.figure_moves.values()
            if since <= move.occurred_at < until
            and (series is None or move.series in series)
            and (recorded_after is None or move.recorded_at > recorded_after)
            and (late is None or move.late == late)
        ]
        return sorted(found, key=lambda move: (move.source, move.seq))

    def all_figure_moves(self, *, after: tuple[str, int] = ("", -1), limit: int = 1000) -> Sequence[Move]:
        """Return a page of movements by (source, seq)."""
        return page_after(self._tables.figure_moves.values(), lambda m: (m.source, m.seq), after, limit)

    def order_counts(self, since: datetime, until: datetime) -> Sequence[OrderCount]:
        """Count the orders made in ``[since, until)`` by (status, chain id)."""
        made = [o for o in self._tables.orders.values() if since <= o.created_at < until]
        keys = sorted((str(o.status), o.chain_id) for o in made)
        return [
            OrderCount(status=status, chain_id=chain_id, orders=len(list(orders)))
            for (status, chain_id), orders in groupby(keys)
        ]

    def owing_subscriptions(self, *, after: str = "", limit: int = 1000) -> Sequence[Subscription]:
        """Return a page of subscriptions that are past due or suspended, by id."""
        owing = [s for s in self._tables.subscriptions.values() if s.status in OWING_SUBSCRIPTIONS]
        return page_after(owing, lambda s: s.subscription_id, after, limit)

    def last_serial(self, series: str) -> int:
        """Return the highest number given in a series; 0 when there is none."""
        return max((d.serial for d in self._tables.documents.find("series", series)), default=0)

    def document(self, series: str, serial: int) -> ReceiptDocument | None:
        """Return a document by its number."""
        return self._tables.documents.get((series, serial))

    def documents_of_subjects(self, subjects: Collection[str]) -> Sequence[ReceiptDocument]:
        """Return the documents about these subjects, by (series, serial)."""
        found = [d for subject in set(subjects) for d in self._tables.documents.find("subject", subject)]
        return sorted(found, key=lambda d: (d.series, d.serial))

    def documents_of_user(
        self, user_id: str, *, before: tuple[str, int] | None = None, limit: int = 100
    ) -> Sequence[ReceiptDocument]:
        """Return a page of a user's documents below a number, the highest number of the last series first."""
        found = self._tables.documents.find("user", user_id)
        below = [d for d in found if before is None or (d.series, d.serial) < before]
        return sorted(below, key=lambda d: (d.series, d.serial), reverse=True)[:limit]

    def buyer_note(self, series: str, serial: int) -> BuyerNote | None:
        """Return what was said about the buyer on a document, unless it was erased."""
        return self._tables.buyer_notes.get((series, serial))


def _record(tables: Tables, decision: RecordFigures) -> None:
    """Store what the folder made: movements, sums, marks, and how far it is."""
    state = decision.state
    check_saved(tables.figure_states.get(state.reader), state)
    for move in decision.moves:
        if tables.figure_moves.get((move.source, move.seq)) is not None:
            raise AlreadyExists("this movement is recorded", field="source")
        tables.figure_moves.put((move.source, move.seq), move)
    before = decision.coarsen_before
    for cell in tables.figure_sums.values():
        if decision.afresh or (before is not None and cell.grain == "quarter" and cell.starts_at < before):
            tables.figure_sums.drop(cell.key)
    for cell in decision.cells:
        tables.figure_sums.put(cell.key, cell)
    for mark in decision.marks:
        tables.journal_marks.put((mark.reader, mark.aggregate), mark)
    tables.figure_states.put(state.reader, state)


def _issue(tables: Tables, decision: IssueDocument) -> None:
    """Append a document, and what the host said about the buyer."""
    document, note = decision.document, decision.buyer
    if tables.documents.get((document.series, document.serial)) is not None:
        raise AlreadyExists("this number is given", field="number")
    if tables.documents.find("source", document.source):
        raise AlreadyExists("this has a document", field="source")
    json_copy("content", document.content)
    tables.documents.put((document.series, document.serial), document)
    if note is not None:
        tables.buyer_notes.put((note.series, note.serial), note)


def write(tables: Tables, decision: FigureDecision) -> None:
    """Write one decision about figures or documents."""
    match decision:
        case RecordFigures():
            _record(tables, decision)
        case IssueDocument():
            _issue(tables, decision)
        case _:
            assert_never(decision)
