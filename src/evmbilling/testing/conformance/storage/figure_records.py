"""Figures and documents for tests of storage."""

from __future__ import annotations

from typing import Any

import attrs

from evmbilling.domain.books.figure_records import FigureState, JournalMark, RecordFigures
from evmbilling.domain.books.movements import Move
from evmbilling.domain.books.mrr import Price, Step, SubscriptionFigures
from evmbilling.domain.books.receipt_documents import BuyerNote, IssueDocument, ReceiptDocument
from evmbilling.domain.books.rollups import Cell, start_of
from evmbilling.testing.conformance.storage.chain_records import ALICE, CHAIN, asset, at

HUGE = -(2**300)


def move(number: int = 1, seq: int = 0, **changes: Any) -> Move:
    """A movement of several digits, that we learned of on another day."""
    full = Move(
        source=f"event:{number}",
        seq=seq,
        series="mrr_new",
        asset=asset(),
        per=36,
        amount=HUGE,
        items=-1,
        occurred_at=at(60),
        recorded_at=at(90_000),
        subject="s1",
    )
    return attrs.evolve(full, **changes)


def cell(**changes: Any) -> Cell:
    full = Cell(
        grain="quarter",
        starts_at=start_of("quarter", at(60)),
        series="mrr_new",
        asset=asset(),
        per=36,
        amount=HUGE,
        items=7,
    )
    return attrs.evolve(full, **changes)


def monthly_price(ledger_id: str = "o1", **changes: Any) -> Price:
    full = Price(ledger_id=ledger_id, period=3, asset=asset(), amount=2**256 - 1, per=12, counts=True)
    return attrs.evolve(full, **changes)


def journal_mark(**changes: Any) -> JournalMark:
    """A journal of which a lot is known."""
    price = monthly_price()
    step = Step(cause="o1", before=None, after=price, occurred_at=at(1), had_paid=True)
    known = SubscriptionFigures(
        status="active",
        paid=(price, monthly_price("o2", counts=False)),
        last=price,
        held=price,
        had_paid=True,
        reversed_=("o9",),
        reversed_at=at(2),
        bought="o8",
        bought_at=at(3),
        steps=(step,),
        told="active",
    )
    full = JournalMark(
        reader="figures",
        aggregate=f"customer:{ALICE}",
        seq=7,
        subscriptions=(("s1", known), ("s2", SubscriptionFigures())),
    )
    return attrs.evolve(full, **changes)


def figure_state(version: int = 1, **changes: Any) -> FigureState:
    full = FigureState(
        reader="figures",
        entries_from=at(1),
        events_from=at(2),
        swept_at=at(3),
        complete_at=at(4),
        quarters_from=at(5),
        version=version,
    )
    return attrs.evolve(full, **changes)


def figures(version: int = 1, **changes: Any) -> RecordFigures:
    """What a folder writes."""
    values: dict[str, Any] = {"moves": (move(),), "cells": (cell(),), "marks": (journal_mark(),)}
    return RecordFigures(state=figure_state(version), **(values | changes))


def document(serial: int = 1, **changes: Any) -> ReceiptDocument:
    full = ReceiptDocument(
        series="R",
        serial=serial,
        kind="receipt",
        source=f"event:{serial}",
        subject="order:1",
        user_id=ALICE,
        corrects=None,
        issued_at=at(5),
        content={"amount": "5", "chain_id": CHAIN, "lines": [{"text": "größer <b>"}]},
    )
    return attrs.evolve(full, **changes)


def note(serial: int = 1, **changes: Any) -> BuyerNote:
    return attrs.evolve(BuyerNote(series="R", serial=serial, user_id=ALICE, text="Ada\nLondon"), **changes)


def issued(serial: int = 1, **changes: Any) -> IssueDocument:
    """A document with what the host said about the buyer."""
    return IssueDocument(document(serial, **changes), note(serial))
