"""Writing figures and documents: the state first, whose version decides about the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.rows import figures as rows
from evmbilling.adapters.sqlalchemy.writing.sending import Sender
from evmbilling.domain.books.figure_records import RecordFigures
from evmbilling.domain.books.receipt_documents import IssueDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables

FigureDecision = RecordFigures | IssueDocument


class FigureChanges:
    """Statements that remove sums, built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        sums = tables["figure_sums"]
        self.clear = sa.delete(sums)
        self.coarsen = sa.delete(sums).where(sums.c.grain == "quarter", sums.c.starts_at < bindparam("before"))


class FigureWriter(Sender):
    """Writes decisions about figures and documents."""

    def _apply_figures(self, first: FigureDecision, group: Sequence[Any]) -> None:
        changes = self._statements.changes
        match first:
            case RecordFigures():
                for decision in group:
                    self._record_figures(decision)
            case IssueDocument():
                issued = [rows.document_values(decision.document) for decision in group]
                self._change(changes.inserts["receipt_documents"], issued)
                notes = [rows.note_values(decision.buyer) for decision in group if decision.buyer is not None]
                self._change(changes.inserts["buyer_notes"], notes)
            case _:
                assert_never(first)

    def _record_figures(self, decision: RecordFigures) -> None:
        changes = self._statements.changes
        self._save("figure_states", [(decision.state, rows.state_values(decision.state))])
        self._send()
        if decision.afresh:
            self._run(self._statements.figure_changes.clear)
        elif decision.coarsen_before is not None:
            self._run(self._statements.figure_changes.coarsen, {"before": decision.coarsen_before})
        self._change(changes.inserts["figure_moves"], [rows.move_values(move) for move in decision.moves])
        # Into an empty table rows go by COPY, at a fraction of the cost.
        sums = changes.inserts["figure_sums"] if decision.afresh else changes.cell
        self._change(sums, [rows.cell_values(cell) for cell in decision.cells])
        self._change(changes.mark, [rows.mark_values(mark) for mark in decision.marks])
