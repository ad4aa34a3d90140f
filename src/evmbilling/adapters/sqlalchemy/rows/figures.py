"""Rows of figures and documents."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from evmbilling.adapters.sqlalchemy.rows.billing import asset_values, read_asset
from evmbilling.adapters.sqlalchemy.values import instant_text
from evmbilling.domain.books.figure_records import FigureState, JournalMark
from evmbilling.domain.books.movements import Move
from evmbilling.domain.books.mrr import Price, Step, SubscriptionFigures
from evmbilling.domain.books.receipt_documents import BuyerNote, ReceiptDocument
from evmbilling.domain.books.rollups import Cell, asset_of
from evmbilling.domain.money import Asset

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.rows.catalogue import Row, Values


def move_values(move: Move) -> Values:
    """Write a movement."""
    return {
        "source": move.source,
        "seq": move.seq,
        "series": str(move.series),
        **asset_values(move.asset),
        "per": move.per,
        "amount": move.amount,
        "items": move.items,
        "occurred_at": move.occurred_at,
        "recorded_at": move.recorded_at,
        "late": move.late,
        "subject": move.subject,
    }


def read_move(row: Row) -> Move:
    """Read a movement."""
    return Move(
        source=row.source,
        seq=row.seq,
        series=row.series,
        asset=read_asset(row),
        per=row.per,
        amount=row.amount,
        items=row.items,
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        subject=row.subject,
    )


def cell_values(cell: Cell) -> Values:
    """Write a sum."""
    return {
        "grain": cell.grain,
        "starts_at": cell.starts_at,
        "series": cell.series,
        "per": cell.per,
        **asset_values(cell.asset),
        "amount": cell.amount,
        "items": cell.items,
    }


def read_cell(row: Row) -> Cell:
    """Read a sum."""
    return Cell(
        grain=row.grain,
        starts_at=row.starts_at,
        series=row.series,
        asset=asset_of(row.chain_id, row.token, row.decimals, row.symbol),
        per=row.per,
        amount=row.amount,
        items=row.items,
    )


def state_values(state: FigureState) -> Values:
    """Write how far a reader is."""
    return {
        "reader": state.reader,
        "entries_from": state.entries_from,
        "events_from": state.events_from,
        "swept_at": state.swept_at,
        "complete_at": state.complete_at,
        "quarters_from": state.quarters_from,
        "version": state.version,
    }


def read_state(row: Row) -> FigureState:
    """Read how far a reader is."""
    return FigureState(
        reader=row.reader,
        entries_from=row.entries_from,
        events_from=row.events_from,
        swept_at=row.swept_at,
        complete_at=row.complete_at,
        quarters_from=row.quarters_from,
        version=row.version,
    )


def mark_values(mark: JournalMark) -> Values:
    """Write how far a journal is read, and what is known of it."""
    known = {name: _write_figures(figures) for name, figures in mark.subscriptions}
    return {"reader": mark.reader, "aggregate": mark.aggregate, "seq": mark.seq, "known": known}


def read_mark(row: Row) -> JournalMark:
    """Read how far a journal is read."""
    known = tuple((name, _read_figures(figures)) for name, figures in row.known.items())
    return JournalMark(reader=row.reader, aggregate=row.aggregate, seq=row.seq, subscriptions=known)


def _write_figures(known: SubscriptionFigures) -> dict[str, Any]:
    return {
        "status": known.status,
        "paid": [_write_price(price) for price in known.paid],
        "last": _write_price(known.last),
        "held": _write_price(known.held),
        "had_paid": known.had_paid,
        "reversed": list(known.reversed_),
        "reversed_at": _write_instant(known.reversed_at),
        "bought": known.bought,
        "bought_at": _write_instant(known.bought_at),
        "steps": [
            [
                step.cause,
                _write_price(step.before),
                _write_price(step.after),
                _write_instant(step.occurred_at),
                step.had_paid,
            ]
            for step in known.steps
        ],
        "told": known.told,
    }


def _read_figures(value: Any) -> SubscriptionFigures:
    return SubscriptionFigures(
        status=value["status"],
        paid=tuple(price for price in map(_read_price, value["paid"]) if price is not None),
        last=_read_price(value["last"]),
        held=_read_price(value["held"]),
        had_paid=value["had_paid"],
        reversed_=tuple(value["reversed"]),
        reversed_at=_read_instant(value["reversed_at"]),
        bought=value["bought"],
        bought_at=_read_instant(value["bought_at"]),
        steps=tuple(
            Step(
                cause=cause,
                before=_read_price(before),
                after=_read_price(after),
                occurred_at=datetime.fromisoformat(at),
                had_paid=had_paid,
            )
            for cause, before, after, at, had_paid in value["steps"]
        ),
        told=value["told"],
    )


def _write_price(price: Price | None) -> list[Any] | None:
    if price is None:
        return None
    asset = price.asset
    money = [asset.chain_id, asset.token, asset.decimals, asset.symbol, price.amount, price.per]
    return [price.ledger_id, price.period, *money, price.counts]


def _read_price(value: Any) -> Price | None:
    if value is None:
        return None
    ledger_id, period, chain_id, token, decimals, symbol, amount, per, counts = value
    asset = Asset(chain_id=chain_id, token=token, decimals=decimals, symbol=symbol)
    return Price(ledger_id=ledger_id, period=period, asset=asset, amount=amount, per=per, counts=counts)


def _write_instant(at: datetime | None) -> str | None:
    return None if at is None else instant_text(at)


def _read_instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def document_values(document: ReceiptDocument) -> Values:
    """Write a document."""
    return {
        "series": document.series,
        "serial": document.serial,
        "kind": document.kind,
        "source": document.source,
        "subject": document.subject,
        "user_id": document.user_id,
        "ledger_id": document.ledger_id,
        "corrects": document.corrects,
        "issued_at": document.issued_at,
        "content": dict(document.content),
    }


def read_document(row: Row) -> ReceiptDocument:
    """Read a document."""
    return ReceiptDocument(
        series=row.series,
        serial=row.serial,
        kind=row.kind,
        source=row.source,
        subject=row.subject,
        user_id=row.user_id,
        ledger_id=row.ledger_id,
        corrects=row.corrects,
        issued_at=row.issued_at,
        content=row.content,
    )


def note_values(note: BuyerNote) -> Values:
    """Write what was said about a buyer."""
    return {"series": note.series, "serial": note.serial, "user_id": note.user_id, "text": note.text}


def read_note(row: Row) -> BuyerNote:
    """Read what was said about a buyer."""
    return BuyerNote(series=row.series, serial=row.serial, user_id=row.user_id, text=row.text)
