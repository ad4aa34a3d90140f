"""What the folder of figures keeps: how far it is, and what it knows of each journal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import frozen

from evmbilling.domain.books.movements import Move
from evmbilling.domain.books.mrr import SubscriptionFigures
from evmbilling.domain.books.rollups import Cell

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@frozen(kw_only=True)
class JournalMark:
    """How far somebody has read the journal of an aggregate.

    Attributes:
        reader: who, ``figures`` or ``receipts``.
        aggregate: whose journal; ``seq`` of the last event that was taken in.
        subscriptions: what is known of a customer's subscriptions, with their ids; empty for other readers.

    """

    reader: str
    aggregate: str
    seq: int = 0
    subscriptions: tuple[tuple[str, SubscriptionFigures], ...] = ()


@frozen(kw_only=True)
class FigureState:
    """How far a reader of facts is: one row, which only that reader changes.

    Attributes:
        reader: ``figures`` or ``receipts``.
        entries_from, events_from: everything recorded before is taken in, but for what was committed late.
        swept_at: when everything was looked through for that.
        complete_at: until when everything that was recorded by then is taken in.
        quarters_from: from when on sums by quarter of an hour are kept.

    """

    reader: str
    entries_from: datetime = LONG_AGO
    events_from: datetime = LONG_AGO
    swept_at: datetime = LONG_AGO
    complete_at: datetime = LONG_AGO
    quarters_from: datetime = LONG_AGO
    version: int = 0


@frozen(kw_only=True)
class RecordFigures:
    """Append movements ((source, seq) taken is AlreadyExists), replace sums and marks, and store the state.

    Attributes:
        state: its version is the new one; the stored one must be one below (else VersionConflict).
        cells: as they become.
        afresh: whether all sums are removed first, to be made anew.
        coarsen_before: sums by quarter of an hour that begin before this are removed; None removes none.

    """

    state: FigureState
    moves: Sequence[Move] = ()
    cells: Sequence[Cell] = ()
    marks: Sequence[JournalMark] = ()
    afresh: bool = False
    coarsen_before: datetime | None = None
