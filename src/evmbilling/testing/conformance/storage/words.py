"""Every word of every closed set comes back as it was written: a database that checks words knows all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import pytest
from attrs import evolve, frozen

from evmbilling.domain import decisions as d
from evmbilling.domain.books.ledger import Account, EntryKind
from evmbilling.domain.books.receipt_documents import DocumentKind, IssueDocument
from evmbilling.domain.catalogue.catalogue import Finality, FinalityKind
from evmbilling.domain.mandates.charges import ChargeState, StoreCharge
from evmbilling.domain.mandates.mandates import EndReason, MandateStatus, Via
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.messages.messages import DeliveryState, InboxState
from evmbilling.domain.payments.finance import QueueKind, QueueState, Ruling
from evmbilling.domain.payments.receipts import Allocation, Burn, BurnStatus
from evmbilling.domain.payments.receipts import EntryKind as JournalKind
from evmbilling.domain.payments.treasury import Direction, MovementKind
from evmbilling.domain.selling.orders import Claim, LineKind, OrderLine, OrderOrigin, Pull
from evmbilling.domain.sending.transmissions import Purpose, SignedKind, TransmissionStatus
from evmbilling.domain.states import ReceiptStatus
from evmbilling.domain.subscriptions.subscriptions import ChangeKind
from evmbilling.testing.conformance.storage import records as b


@frozen
class Worded:
    """A field that holds one of a closed set of words.

    Attributes:
        words: all of them.
        write: returns what writes the record with a number and a word.
        read: returns the word of the record with a number.

    """

    words: Sequence[Any]
    write: Callable[[int, Any], Sequence[Any]]
    read: Callable[[Any, int], Any]


def _order(**changes: Any) -> tuple[Callable[[int, Any], Sequence[Any]], Callable[[Any, int], Any]]:
    (field,) = changes

    def read(unit: Any, number: int) -> Any:
        return getattr(unit.order(b.ident(number)), field)

    return lambda number, word: [d.OpenOrder(b.order(number, **{field: word}))], read


def _mandate(field: str) -> tuple[Callable[[int, Any], Sequence[Any]], Callable[[Any, int], Any]]:
    def read(unit: Any, number: int) -> Any:
        return getattr(unit.mandate(b.ident(number)), field)

    return lambda number, word: [d.StoreMandate(b.mandate(number, **{field: word}))], read


def _item(field: str) -> tuple[Callable[[int, Any], Sequence[Any]], Callable[[Any, int], Any]]:
    def read(unit: Any, number: int) -> Any:
        return getattr(unit.queue_item(b.ident(number)), field)

    return lambda number, word: [d.StoreQueueItem(b.queued(number, **{field: word}))], read


def _receipt(field: str) -> tuple[Callable[[int, Any], Sequence[Any]], Callable[[Any, int], Any]]:
    def read(unit: Any, number: int) -> Any:
        return getattr(unit.receipts([b.ident(number)])[b.ident(number)], field)

    return lambda number, word: [d.StoreReceipt(b.receipt(number, **{field: word}))], read


def _movement(field: str) -> tuple[Callable[[int, Any], Sequence[Any]], Callable[[Any, int], Any]]:
    def read(unit: Any, number: int) -> Any:
        return getattr(unit.movements([b.identity(number)])[b.identity(number)], field)

    return lambda number, word: [d.StoreMovement(b.movement(number, **{field: word}))], read


def _journal(number: int, word: Any) -> Sequence[Any]:
    return [d.AppendEntry(b.entry(seq=number, kind=word))]


def _posted(number: int, word: Any) -> Sequence[Any]:
    return [d.PostEntry(b.posting(number, kind=word))]


def _moved(number: int, word: Any) -> Sequence[Any]:
    lines = b.moved((word, f"a:{number}"), (Account.EXTERNAL, "-"), 5)
    return [d.PostEntry(b.posting(number, lines=lines))]


def _account(unit: Any, number: int) -> Any:
    posted = {entry.entry_id: entry for entry in unit.ledger_entries()}[b.ident(number)]
    return next(line.account for line in posted.lines if line.owner == f"a:{number}")


def _delivered(number: int, word: Any) -> Sequence[Any]:
    one = b.delivery(number, state=word)
    return [d.Publish(b.event(number)), d.OpenDeliveries(one.event_id, (one,))]


def _signed(number: int, word: Any) -> Sequence[Any]:
    return [d.StoreTransmission(b.sending(number)), d.RecordSigned(b.signed_version(number, kind=word))]


def _line(number: int, word: Any) -> Sequence[Any]:
    return [d.OpenOrder(b.order(number, lines=(OrderLine(kind=word, text="x", amount=19_990_000),)))]


def _charge(number: int, word: Any) -> Sequence[Any]:
    return [d.OpenOrder(b.order(number)), StoreCharge(b.charge(number, state=word))]


def _burned(number: int, word: Any) -> Sequence[Any]:
    return [d.StoreRefund(b.refund(number, burn=Burn(status=word)))]


WORDED = {
    "purposes": Worded(
        get_args(Purpose),
        lambda n, word: [d.StoreTransmission(b.sending(n, purpose=word))],
        lambda u, n: u.transmission(b.ident(n)).purpose,
    ),
    "states of transmissions": Worded(
        tuple(TransmissionStatus),
        lambda n, word: [d.StoreTransmission(b.sending(n, status=word, nonce=n, versions=1))],
        lambda u, n: u.transmission(b.ident(n)).status,
    ),
    "kinds of versions": Worded(get_args(SignedKind), _signed, lambda u, n: u.signed_versions([b.ident(n)])[0].kind),
    "states of mandates": Worded(tuple(MandateStatus), *_mandate("status")),
    "ways of mandates": Worded(get_args(Via), *_mandate("via")),
    "ends of mandates": Worded((*get_args(EndReason), None), *_mandate("end_reason")),
    "origins": Worded(get_args(OrderOrigin), *_order(origin=None)),
    "claims": Worded((*get_args(Claim), None), *_order(claim=None)),
    "pulls": Worded((*get_args(Pull), None), *_order(pull=None)),
    "lines": Worded(get_args(LineKind), _line, lambda u, n: u.order(b.ident(n)).lines[0].kind),
    "states of receipts": Worded(tuple(ReceiptStatus), *_receipt("status")),
    "allocations": Worded(get_args(Allocation), *_receipt("allocation")),
    "journals": Worded(
        get_args(JournalKind),
        _journal,
        lambda u, n: next(entry.kind for entry in u.entries(b.ident(1)) if entry.seq == n),
    ),
    "ways of refunds": Worded(
        ("contract", "transfer"),
        lambda n, word: [d.StoreRefund(b.refund(n, via=word))],
        lambda u, n: u.refund(b.ident(n)).via,
    ),
    "burns": Worded(get_args(BurnStatus), _burned, lambda u, n: u.refund(b.ident(n)).burn.status),
    "movements": Worded(get_args(MovementKind), *_movement("kind")),
    "directions": Worded(get_args(Direction), *_movement("direction")),
    "kinds of items": Worded(get_args(QueueKind), *_item("kind")),
    "states of items": Worded(get_args(QueueState), *_item("state")),
    "rulings": Worded((*get_args(Ruling), None), *_item("ruling")),
    "states of hints": Worded(
        get_args(InboxState),
        lambda n, word: [d.StoreInboxItem(b.hint(n, state=word))],
        lambda u, n: u.inbox_item("relay", f"msg_{n}").state,
    ),
    "states of deliveries": Worded(
        get_args(DeliveryState), _delivered, lambda u, n: u.delivery(b.ident(n), b.SINK).state
    ),
    "states of charges": Worded(get_args(ChargeState), _charge, lambda u, n: u.charges_of([b.ident(n)])[0].state),
    "changes": Worded(
        get_args(ChangeKind),
        lambda n, word: [d.RecordChange(b.change(seq=n, kind=word))],
        lambda u, n: next(one.kind for one in u.changes([b.ident(1)]) if one.seq == n),
    ),
    "events": Worded(
        tuple(EventType),
        lambda n, word: [d.Publish(b.event(n, type=word))],
        lambda u, n: u.event(b.ident(n)).type,
    ),
    "documents": Worded(
        get_args(DocumentKind),
        lambda n, word: [IssueDocument(b.document(n, kind=word), None)],
        lambda u, n: u.document("R", n).kind,
    ),
    "postings": Worded(
        tuple(EntryKind),
        _posted,
        lambda u, n: next(entry.kind for entry in u.ledger_entries() if entry.entry_id == b.ident(n)),
    ),
    "accounts": Worded(tuple(Account), _moved, _account),
    "depths": Worded(
        get_args(FinalityKind),
        lambda n, word: [d.SaveGateway(b.gateway(slug=f"g{n}", credit_after=Finality(word, n)))],
        lambda u, n: u.gateway(f"g{n}").credit_after.kind,
    ),
    "contracts": Worded(
        ("checkout", "erc20", "mandates", "mapped", "deposit"),
        lambda n, word: [d.SaveContract(evolve(b.contract(), slug=f"c{n}", kind=word))],
        lambda u, n: u.contract(f"c{n}", "anvil").kind,
    ),
}
FIRST = 20
"""The numbers below are those of what is there already."""


class WordsChecks:
    """Every word of every closed set comes back as it was written."""

    clause = 10

    @pytest.mark.parametrize("worded", WORDED.values(), ids=WORDED.keys())
    def test_every_word_of_a_closed_set_comes_back(self, storage: Any, worded: Worded) -> None:
        b.seeded(storage)
        assert worded.words
        for number, word in enumerate(worded.words, FIRST):
            b.write(storage, *worded.write(number, word))
        with b.looking(storage) as unit:
            found = [worded.read(unit, number) for number, _ in enumerate(worded.words, FIRST)]
        assert found == list(worded.words)
        assert [type(word) for word in found] == [type(word) for word in worded.words]
