"""Reads of figures: unread facts, movements, sums, documents."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.ledger import LedgerReader
from evmbilling.adapters.sqlalchemy.reading.session import any_word, several
from evmbilling.adapters.sqlalchemy.reading.totals import TotalStatements, values_of
from evmbilling.adapters.sqlalchemy.rows import books, figures, money, subscriptions
from evmbilling.domain.books.figure_records import FigureState, JournalMark
from evmbilling.domain.books.span_totals import added, totals_of
from evmbilling.ports.figures import OrderCount

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import datetime

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.books.ledger import Entry
    from evmbilling.domain.books.movements import Move
    from evmbilling.domain.books.receipt_documents import BuyerNote, ReceiptDocument
    from evmbilling.domain.books.rollups import Cell, Grain, Tally
    from evmbilling.domain.books.span_totals import Part, Total
    from evmbilling.domain.messages.events import Event
    from evmbilling.domain.subscriptions.subscriptions import Subscription

OWING = "status IN ('past_due', 'suspended')"
"""The condition of the partial index on subscriptions, in its own words."""
_TALLY = ("starts_at", "series", "chain_id", "token", "per", "decimals", "symbol", "amount", "items")
"""The columns of :data:`evmbilling.domain.books.rollups.Tally`."""


class FigureStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables, dialect: str) -> None:
        states, moves, sums = tables["figure_states"], tables["figure_moves"], tables["figure_sums"]
        self.state = sa.select(states).where(states.c.reader == bindparam("reader"))
        self.unfolded = _unfolded(tables["ledger_entries"], moves)
        self.unread = _unread(tables["outbox"], tables["journal_marks"])
        self.marks = sa.select(tables["journal_marks"]).where(
            tables["journal_marks"].c.reader == bindparam("reader"),
            tables["journal_marks"].c.aggregate.in_(several("aggregates")),
        )
        outbox = tables["outbox"]
        self.journal = (
            sa.select(outbox)
            .where(
                outbox.c.aggregate == bindparam("aggregate"),
                outbox.c.seq > bindparam("after"),
                outbox.c.type.in_(several("types")),
            )
            .order_by(outbox.c.seq)
            .limit(bindparam("most"))
        )
        self.cells = {asked: _cells(sums, sums.columns, *asked) for asked in product((False, True), repeat=3)}
        of_tally = [sums.c[name] for name in _TALLY]
        self.tallies = {onwards: _cells(sums, of_tally, not onwards, onwards, True) for onwards in (False, True)}
        self.totals = TotalStatements(sums)
        self.moves = {
            (series, known, late): _moves(moves, series=series, known=known, late=late, dialect=dialect)
            for series, known, late in product((False, True), (False, True), (None, False, True))
        }
        self.move_page = (
            _in_order(moves)
            .where(sa.tuple_(moves.c.source, moves.c.seq) > sa.tuple_(bindparam("source"), bindparam("seq")))
            .limit(bindparam("most"))
        )
        self.order_counts = _order_counts(tables["payment_transactions"])
        held = tables["subscriptions"]
        self.owing = (
            sa.select(held)
            .where(sa.text(OWING), held.c.subscription_id > bindparam("after"))
            .order_by(held.c.subscription_id)
            .limit(bindparam("most"))
        )
        self._documents(tables)

    def _documents(self, tables: Tables) -> None:
        documents, notes = tables["receipt_documents"], tables["buyer_notes"]
        of_series = documents.c.series == bindparam("series")
        self.last_serial = sa.select(sa.func.max(documents.c.serial).label("serial")).where(of_series)
        self.document = sa.select(documents).where(of_series, documents.c.serial == bindparam("serial"))
        self.of_subjects = (
            sa.select(documents)
            .where(documents.c.subject.in_(several("subjects")))
            .order_by(documents.c.series, documents.c.serial)
        )
        number = sa.tuple_(documents.c.series, documents.c.serial)
        self.of_user = (
            sa.select(documents)
            .where(documents.c.user_id == bindparam("user_id"))
            .order_by(documents.c.series.desc(), documents.c.serial.desc())
            .limit(bindparam("most"))
        )
        self.of_user_below = self.of_user.where(number < sa.tuple_(bindparam("series"), bindparam("serial")))
        self.note = sa.select(notes).where(notes.c.series == bindparam("series"), notes.c.serial == bindparam("serial"))


def _cells(sums: sa.Table, asked: Iterable[Any], starts: bool, since: bool, series: bool) -> Any:
    """Sums of a grain, by their key; narrowed down as it is asked."""
    columns = sums.c
    query = sa.select(*asked).where(any_word(columns.grain) == bindparam("grain"))
    if starts:
        query = query.where(columns.starts_at.in_(several("starts")))
    if since:
        query = query.where(columns.starts_at >= bindparam("since"))
    if series:
        # After a range, PostgreSQL would rather read the whole table than look for each name in the index; as an
        # expression, the names only filter what the range has found.
        name = columns.series.concat("") if since else columns.series
        query = query.where(name.in_(several("series")))
    return query.order_by(columns.starts_at, columns.series, columns.chain_id, columns.token, columns.per)


def _in_order(moves: sa.Table) -> Any:
    return sa.select(moves).order_by(moves.c.source, moves.c.seq)


def _moves(moves: sa.Table, *, series: bool, known: bool, late: bool | None, dialect: str) -> Any:
    """Movements of a stretch of time; narrowed down as it is asked."""
    columns = moves.c
    query = _in_order(moves).where(columns.occurred_at >= bindparam("since"), columns.occurred_at < bindparam("until"))
    if series:
        query = query.where(columns.series.in_(several("series")))
    if known:
        query = query.where(columns.recorded_at > bindparam("recorded_after"))
    if late is None:
        return query
    # In the words of the partial index, so that it can be used.
    words = sa.text("late" if late else "NOT late")
    return query.where(words if dialect == "postgresql" else columns.late == sa.literal(late, columns.late.type))


def _unfolded(entries: sa.Table, moves: sa.Table) -> Any:
    """Entries that no movement names: found by their absence, because what is committed late has a low id."""
    named = sa.exists().where(
        sa.type_coerce(moves.c.source, sa.Text)
        == sa.literal("entry:", sa.Text) + sa.type_coerce(entries.c.entry_id, sa.Text),
        moves.c.seq == sa.literal(0, moves.c.seq.type),
    )
    return (
        sa.select(entries)
        .where(entries.c.recorded_at >= bindparam("since"), ~named)
        .order_by(entries.c.recorded_at, entries.c.entry_id)
        .limit(bindparam("most"))
    )


def _unread(outbox: sa.Table, marks: sa.Table) -> Any:
    first = sa.func.min(outbox.c.recorded_at).label("first")
    read = sa.and_(marks.c.reader == bindparam("reader"), marks.c.aggregate == outbox.c.aggregate)
    return (
        sa.select(outbox.c.aggregate, sa.type_coerce(first, outbox.c.recorded_at.type).label("first"))
        .select_from(outbox.outerjoin(marks, read))
        .where(
            outbox.c.recorded_at >= bindparam("since"),
            outbox.c.type.in_(several("types")),
            sa.or_(marks.c.seq.is_(None), outbox.c.seq > marks.c.seq),
        )
        .group_by(outbox.c.aggregate)
        .order_by(first, outbox.c.aggregate)
        .limit(bindparam("most"))
    )


def _order_counts(orders: sa.Table) -> Any:
    """Count by status, in an index that holds all that is asked."""
    made = orders.c.created_at
    return (
        sa.select(orders.c.status, orders.c.chain_id, sa.func.count().label("orders"))
        .where(made >= bindparam("since"), made < bindparam("until"))
        .group_by(orders.c.status, orders.c.chain_id)
        .order_by(any_word(orders.c.status), orders.c.chain_id)
    )


def _asked(
    grain: Grain, starts: Collection[datetime] | None, since: datetime | None, series: Collection[str] | None
) -> dict[str, Any]:
    """Return the parameters of a question for sums."""
    values: dict[str, Any] = {"grain": grain}
    if starts is not None:
        values["starts"] = sorted(starts)
    if since is not None:
        values["since"] = since
    if series is not None:
        values["series"] = sorted(str(name) for name in series)
    return values


class FigureReader(LedgerReader):
    """Implements :class:`evmbilling.ports.figures.FigureReads` and ``DocumentReads``."""

    def figure_state(self, reader: str) -> FigureState:
        """Return how far a reader is; version 0 when it never began."""
        row = self._one(self._statements.figures.state, reader=reader)
        return FigureState(reader=reader) if row is None else figures.read_state(row)

    def unfolded_entries(self, since: datetime, limit: int) -> Sequence[Entry]:
        """Return ledger entries recorded at or after an instant that no movement names, by (recorded_at, entry id)."""
        rows = self._all(self._statements.figures.unfolded, since=since, most=limit)
        lines = self._lines_of([row.entry_id for row in rows])
        return [books.read_posting(row, lines.get(row.entry_id, ())) for row in rows]

    def unread_journals(
        self, reader: str, types: Collection[str], since: datetime, limit: int
    ) -> Sequence[tuple[JournalMark, datetime]]:
        """Return journals with unread events of these types, with when the first of them was recorded."""
        statements = self._statements.figures
        wanted = sorted(str(kind) for kind in types)
        found = self._all(statements.unread, reader=reader, types=wanted, since=since, most=limit)
        rows = self._in(statements.marks, "aggregates", [row.aggregate for row in found], reader=reader)
        marks = {row.aggregate: figures.read_mark(row) for row in rows}
        return [
            (marks.get(row.aggregate) or JournalMark(reader=reader, aggregate=row.aggregate), row.first)
            for row in found
        ]

    def journal_events(self, aggregate: str, types: Collection[str], *, after: int, limit: int) -> Sequence[Event]:
        """Return a page of an aggregate's events of these types by seq."""
        wanted = sorted(str(kind) for kind in types)
        found = self._all(self._statements.figures.journal, aggregate=aggregate, types=wanted, after=after, most=limit)
        return [money.read_event(row) for row in found]

    def figure_cells(
        self,
        grain: Grain,
        *,
        starts: Collection[datetime] | None = None,
        since: datetime | None = None,
        series: Collection[str] | None = None,
    ) -> Sequence[Cell]:
        """Return sums of a grain by key: those that start at these instants, or at ``since`` and later."""
        statement = self._statements.figures.cells[starts is not None, since is not None, series is not None]
        return [figures.read_cell(row) for row in self._all(statement, **_asked(grain, starts, since, series))]

    def figure_totals(self, parts: Collection[Part], series: Collection[str]) -> Sequence[Total]:
        """Return what the sums of these series come to for each place of the parts."""
        names = sorted(str(name) for name in series)
        if not parts or not names:
            return []
        if self._connection.dialect.name == "postgresql":
            return self._added_there(parts, names)
        return totals_of(parts, frozenset(names), self._tallies(parts, names))

    def _added_there(self, parts: Collection[Part], names: list[str]) -> Sequence[Total]:
        statements = self._statements.figures.totals
        exact = [part for part in parts if not part.onwards]
        found = [self._tuples(statements.exact, **values_of(exact, names))] if exact else []
        found += [
            self._tuples(
                statements.onwards, place=part.place, sign=part.sign, grain=part.grain, since=part.start, series=names
            )
            for part in parts
            if part.onwards
        ]
        return found[0] if len(found) == 1 else added((1, total) for totals in found for total in totals)

    def _tallies(self, parts: Collection[Part], names: list[str]) -> Iterator[tuple[Grain, Tally]]:
        """Read the sums of parts, each once: SQLite adds no whole numbers beyond 64 bits."""
        for grain in dict.fromkeys(part.grain for part in parts):
            starts = {part.start for part in parts if part.grain == grain}
            onwards = any(part.onwards for part in parts if part.grain == grain)
            asked = {"since": min(starts)} if onwards else {"starts": sorted(starts)}
            for tally in self._tuples(self._statements.figures.tallies[onwards], grain=grain, series=names, **asked):
                yield grain, tally

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
        asked = (series is not None, recorded_after is not None, late)
        values: dict[str, Any] = {"since": since, "until": until}
        if series is not None:
            values["series"] = sorted(str(name) for name in series)
        if recorded_after is not None:
            values["recorded_after"] = recorded_after
        return [figures.read_move(row) for row in self._all(self._statements.figures.moves[asked], **values)]

    def all_figure_moves(self, *, after: tuple[str, int] = ("", -1), limit: int = 1000) -> Sequence[Move]:
        """Return a page of movements by (source, seq)."""
        found = self._all(self._statements.figures.move_page, source=after[0], seq=after[1], most=limit)
        return [figures.read_move(row) for row in found]

    def order_counts(self, since: datetime, until: datetime) -> Sequence[OrderCount]:
        """Count the orders made in ``[since, until)`` by (status, chain id)."""
        found = self._all(self._statements.figures.order_counts, since=since, until=until)
        return [OrderCount(status=row.status, chain_id=row.chain_id, orders=row.orders) for row in found]

    def owing_subscriptions(self, *, after: str = "", limit: int = 1000) -> Sequence[Subscription]:
        """Return a page of subscriptions that are past due or suspended, by id."""
        found = self._all(self._statements.figures.owing, after=after, most=limit)
        return [subscriptions.read_subscription(row) for row in found]

    def last_serial(self, series: str) -> int:
        """Return the highest number given in a series; 0 when there is none."""
        row = self._one(self._statements.figures.last_serial, series=series)
        return 0 if row is None or row.serial is None else int(row.serial)

    def document(self, series: str, serial: int) -> ReceiptDocument | None:
        """Return a document by its number."""
        row = self._one(self._statements.figures.document, series=series, serial=serial)
        return None if row is None else figures.read_document(row)

    def documents_of_subjects(self, subjects: Collection[str]) -> Sequence[ReceiptDocument]:
        """Return the documents about these subjects, by (series, serial)."""
        found = self._in(self._statements.figures.of_subjects, "subjects", subjects)
        return sorted((figures.read_document(row) for row in found), key=lambda d: (d.series, d.serial))

    def documents_of_user(
        self, user_id: str, *, before: tuple[str, int] | None = None, limit: int = 100
    ) -> Sequence[ReceiptDocument]:
        """Return a page of a user's documents below a number, the highest number of the last series first."""
        statements = self._statements.figures
        if before is None:
            found = self._all(statements.of_user, user_id=user_id, most=limit)
        else:
            place = {"series": before[0], "serial": before[1]}
            found = self._all(statements.of_user_below, user_id=user_id, most=limit, **place)
        return [figures.read_document(row) for row in found]

    def buyer_note(self, series: str, serial: int) -> BuyerNote | None:
        """Return what was said about the buyer on a document, unless it was erased."""
        row = self._one(self._statements.figures.note, series=series, serial=serial)
        return None if row is None else figures.read_note(row)
