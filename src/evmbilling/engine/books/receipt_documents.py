"""Giving numbers to documents, after the commit of what they are about; and reading them.

Numbers have no gaps because a number is the last one and one more, inside the transaction that appends the document.
The host is asked about the buyer outside every transaction: it may look that up elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from attrs import frozen

from evmbilling.domain.books.figure_records import LONG_AGO, FigureState, JournalMark, RecordFigures
from evmbilling.domain.books.paper_words import DEFAULT_LANGUAGE, paper_words
from evmbilling.domain.books.receipt_documents import (
    DOCUMENT_EVENTS,
    BuyerNote,
    IssueDocument,
    ReceiptDocument,
    check_text,
    correction_content,
    kind_of,
    order_content,
    parse_number,
    refund_content,
    subject_of,
    write_number,
)
from evmbilling.domain.books.receipt_pages import document_page
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.traces import trace_of
from evmbilling.engine.books.journals import look_from, sweeps
from evmbilling.engine.context import Ports, Runner
from evmbilling.errors import AlreadyExists, NotFound, VersionConflict
from evmbilling.ports.crash import crash_point
from evmbilling.ports.storage import Unit

LEASE = "receipts"
LEASE_SECONDS = 60
READER = "receipts"
EVENTS_OF_ONE = 100

_REASONS: Mapping[str, str] = {
    EventType.PAYMENT_REVERSED: "payment_reversed",
    EventType.REFUND_REVERSED: "refund_reversed",
}
_log = logging.getLogger("evmbilling.receipts")


@frozen(kw_only=True)
class NumberReport:
    """What one call did.

    Attributes:
        issued: documents that got a number. events: facts that were looked at.
        left: users about whom the host could not say what stands on their receipts; they are asked again.
        busy: another worker is at it; nothing was done.

    """

    issued: int = 0
    events: int = 0
    left: int = 0
    busy: bool = False


@frozen(kw_only=True)
class NumberedDocument:
    """A document as it is shown: with what stands on it about the buyer, unless that was erased."""

    document: ReceiptDocument
    buyer: str | None = None

    @property
    def number(self) -> str:
        """How people write its number."""
        return self.document.number

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; amounts are strings of base units."""
        document = self.document
        corrected = None if document.corrects is None else write_number(document.series, document.corrects)
        return {
            "number": document.number,
            "kind": document.kind,
            "issued_at": document.issued_at.isoformat(),
            "corrects": corrected,
            "buyer": self.buyer,
            "content": dict(document.content),
        }

    def as_html(self, locale: str = DEFAULT_LANGUAGE) -> str:
        """Return it as a page to print: everything escaped, nothing loaded from anywhere.

        Args:
            locale: BCP 47; English and Russian are spoken, and English to everybody else.

        """
        return document_page(self.document, buyer=self.buyer, words=paper_words(locale))


def number_receipts(ports: Ports, runner: Runner, *, limit: int) -> NumberReport:
    """Give numbers; see :meth:`evmbilling.engine.worker_steps.WorkerSteps.number_receipts`."""
    lease = ports.storage.acquire_lease(LEASE, ports.worker, LEASE_SECONDS)
    if lease is None:
        return NumberReport(busy=True)
    try:
        found = runner.read(lambda unit: _unread(ports, unit, limit))
        answers = _ask(ports, found)
        crash_point("receipts.asked")
        return runner.write(lambda unit: _number(ports, unit, found, answers))
    except (AlreadyExists, VersionConflict):
        # A worker whose lease had run out was faster; what it numbered is as good as ours.
        return NumberReport(busy=True)
    finally:
        ports.storage.release_lease(lease)


@frozen(kw_only=True)
class _Found:
    """What may need documents: journals, with what is new in them, and how far the reader was then."""

    state: FigureState
    journals: Sequence[tuple[JournalMark, datetime]]
    events: Mapping[str, Sequence[Event]]
    complete: bool
    swept: bool


@frozen(kw_only=True)
class _Answers:
    """What the host said about buyers, and about whom it could not say anything."""

    texts: Mapping[str, str]
    unknown: frozenset[str]


def _unread(ports: Ports, unit: Unit, limit: int) -> _Found:
    """Return the journals in which something may need a document, and what is new in them."""
    state = unit.figure_state(READER)
    found = unit.unread_journals(READER, DOCUMENT_EVENTS, look_from(state.events_from), limit)
    swept = not found and sweeps(state, ports.clock.now())
    if swept:
        found = unit.unread_journals(READER, DOCUMENT_EVENTS, LONG_AGO, limit)
    events = {
        mark.aggregate: unit.journal_events(mark.aggregate, DOCUMENT_EVENTS, after=mark.seq, limit=EVENTS_OF_ONE)
        for mark, _ in found
    }
    whole = all(len(page) < EVENTS_OF_ONE for page in events.values())
    complete = whole and len(found) < limit
    return _Found(state=state, journals=found, events=events, complete=complete, swept=swept and complete)


def _ask(ports: Ports, found: _Found) -> _Answers:
    """Ask the host what stands on receipts about these buyers; one answer that fails holds up nobody else."""
    ask = ports.papers.buyer
    users = sorted({user for page in found.events.values() for event in page if (user := _user_of(event))})
    texts: dict[str, str] = {}
    unknown: set[str] = set()
    for user in users if ask is not None else ():
        try:
            texts[user] = check_text(ask(user) if ask is not None else "", field="buyer")
        except Exception as error:  # noqa: BLE001  - the host's callable may raise anything; others go on
            facts = {"user_id": user, "trace": trace_of(error)}
            _log.warning("what stands on receipts about a buyer is not known", extra=facts)
            unknown.add(user)
    return _Answers(texts=texts, unknown=frozenset(unknown))


def _user_of(event: Event) -> str | None:
    user = event.data.get("user_id")
    return user if isinstance(user, str) else None


def _number(ports: Ports, unit: Unit, found: _Found, answers: _Answers) -> NumberReport:
    now = ports.clock.now()
    desk = _Desk(ports, unit, answers.texts, now)
    marks, looked, firsts = [], 0, []
    for mark, first in found.journals:
        events = found.events[mark.aggregate]
        if not events or any(_user_of(event) in answers.unknown for event in events):
            firsts.append(first)
            continue
        for event in events:
            desk.take(event)
        looked += len(events)
        marks.append(attrs.evolve(mark, seq=events[-1].seq))
    state, nothing_left = found.state, found.complete and not firsts
    reached = min(firsts) if firsts else found.journals[0][1] if found.journals else state.events_from
    after = attrs.evolve(
        state,
        events_from=max(now if nothing_left else reached, state.events_from),
        swept_at=now if found.swept and nothing_left else state.swept_at,
        complete_at=max(now, state.complete_at) if nothing_left else state.complete_at,
        version=state.version + 1,
    )
    unit.apply([RecordFigures(state=after, marks=tuple(marks)), *desk.issued])
    return NumberReport(issued=len(desk.issued), events=looked, left=len(firsts))


class _Desk:
    """Makes documents in one transaction, each with the next number."""

    def __init__(self, ports: Ports, unit: Unit, buyers: Mapping[str, str], now: datetime) -> None:
        self._unit, self._buyers, self._now = unit, buyers, now
        self._papers = ports.papers
        self._serial: int | None = None
        self.issued: list[IssueDocument] = []

    def take(self, event: Event) -> None:
        """Make the document that an event needs, if it needs one."""
        kind, subject = kind_of(event), subject_of(event)
        standing = self._standing(subject)
        if kind == "correction":
            if standing is not None:
                corrected = correction_content(standing, reason=_REASONS[event.type])
                self._issue(event, subject, corrected, corrects=standing)
        elif standing is None:
            content = self._refund(event) if kind == "credit_note" else self._order(event)
            if content is not None:
                self._issue(event, subject, content)

    def _standing(self, subject: str) -> ReceiptDocument | None:
        """Return the document about a subject that holds: the last one, unless it was corrected."""
        stored = self._unit.documents_of_subjects([subject])
        fresh = [one.document for one in self.issued if one.document.subject == subject]
        # Oldest first whatever the series: another one may have begun since.
        known = sorted([*stored, *fresh], key=lambda document: (document.issued_at, document.series, document.serial))
        last = known[-1] if known else None
        return None if last is None or last.kind == "correction" else last

    def _order(self, event: Event) -> dict[str, Any] | None:
        order = self._unit.order(str(event.data["ledger_id"]))
        if order is None or self._is_test(order.network):
            return None
        receipts = self._unit.receipts_of_orders([order.ledger_id])
        return order_content(order, receipts, seller=self._papers.seller)

    def _is_test(self, name: str) -> bool:
        """Whether money of a network is play money: it gets no number."""
        network = self._unit.network(name)
        return network is not None and network.testnet

    def _refund(self, event: Event) -> dict[str, Any] | None:
        refund = self._unit.refund(str(event.data["refund_id"]))
        if refund is None or self._is_test(refund.network):
            return None
        order = self._unit.order(refund.ledger_id) if refund.ledger_id else None
        original = self._standing(f"order:{refund.ledger_id}") if refund.ledger_id else None
        number = None if original is None else original.number
        return refund_content(refund, order, seller=self._papers.seller, original=number)

    def _issue(
        self, event: Event, subject: str, content: dict[str, Any], *, corrects: ReceiptDocument | None = None
    ) -> None:
        # A correction goes on in the series of what it corrects, where that number is found.
        series = self._papers.series if corrects is None else corrects.series
        serial = self._next(series)
        user = event.data.get("user_id") or (corrects.user_id if corrects is not None else None)
        ledger_id = event.data.get("ledger_id") or (corrects.ledger_id if corrects is not None else None)
        document = ReceiptDocument(
            series=series,
            serial=serial,
            kind=kind_of(event),
            source=f"event:{event.event_id}",
            subject=subject,
            user_id=user,
            ledger_id=ledger_id,
            corrects=corrects.serial if corrects is not None else None,
            issued_at=self._now,
            content=content,
        )
        text = self._buyers.get(user) if user is not None else None
        note = BuyerNote(series=series, serial=serial, user_id=user, text=text) if user and text else None
        self.issued.append(IssueDocument(document, note))

    def _next(self, series: str) -> int:
        fresh = [one.document.serial for one in self.issued if one.document.series == series]
        return (max(fresh) if fresh else self._unit.last_serial(series)) + 1


def find_document(unit: Unit, number: object, user_id: str | None) -> NumberedDocument:
    """Return a document; see :meth:`evmbilling.engine.people.people.PeopleOperations.receipt_document`."""
    series, serial = parse_number(number)
    document = unit.document(series, serial)
    if document is None or (user_id is not None and document.user_id != user_id):
        raise NotFound("there is no such document", field="number")
    return _with_buyer(unit, document)


def list_documents(unit: Unit, user_id: str, *, before: object, limit: int) -> Sequence[NumberedDocument]:
    """Return a page of a user's documents, the newest number first."""
    below = None if before is None else parse_number(before, field="before")
    return tuple(_with_buyer(unit, found) for found in unit.documents_of_user(user_id, before=below, limit=limit))


def _with_buyer(unit: Unit, document: ReceiptDocument) -> NumberedDocument:
    note = unit.buyer_note(document.series, document.serial)
    return NumberedDocument(document=document, buyer=None if note is None else note.text)
