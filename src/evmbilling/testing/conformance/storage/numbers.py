"""Numbers are ordered as numbers, and what stands at an edge is neither lost nor told twice."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.books.ledger import EntryKind
from evmbilling.domain.sending.transmissions import TransmissionStatus as T
from evmbilling.errors import AlreadyExists
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.outbox_steps import LANES, NOW, claim, claim_events, opened, publish

SHUFFLED = (10, 2, 1, 9, 11, 100)
"""As texts they have another order than as numbers."""
IN_ORDER = sorted(SHUFFLED)
LATER = b.at(1001)


class NumbersChecks:
    """What is numbered comes in the order of its numbers, and an edge belongs to one side."""

    clause = 10

    def test_journals_come_in_the_order_of_their_numbers(self, storage: Any) -> None:
        b.seed(storage, d.OpenOrder(b.order()), d.OpenSubscription(b.subscription()), d.StoreReceipt(b.receipt()))
        entries = [d.AppendEntry(b.entry(seq=seq)) for seq in SHUFFLED]
        changes = [d.RecordChange(b.change(seq=seq)) for seq in SHUFFLED]
        b.write(storage, *entries, *changes)
        with b.looking(storage) as unit:
            found = [
                unit.entries(b.entry().receipt_id),
                unit.entries_of_receipts([b.entry().receipt_id]),
                unit.changes([b.change().subscription_id]),
            ]
        assert [[one.seq for one in rows] for rows in found] == [IN_ORDER] * 3

    def test_the_newest_version_of_a_plan_is_the_greatest_number(self, storage: Any) -> None:
        b.write(storage, *(d.AddPlanVersion(b.plan(version=version)) for version in (1, 2, 9, 10)))
        with b.looking(storage) as unit:
            newest = unit.plan(b.plan().slug)
            assert (newest.version, [one.version for one in unit.plans()]) == (10, [10])

    def test_nonces_and_versions_of_transactions_go_by_number(self, storage: Any) -> None:
        rows = [b.sending(n, nonce=nonce, status=T.SUBMITTED) for n, nonce in enumerate(SHUFFLED, 1)]
        signed = [d.RecordSigned(b.signed_version(1, seq)) for seq in SHUFFLED]
        b.write(storage, *map(d.StoreTransmission, rows), *signed)
        with b.looking(storage) as unit:
            assert [one.nonce for one in unit.lane(b.CHAIN, b.SENDER, 10)] == IN_ORDER
            assert [one.nonce for one in unit.lane(b.CHAIN, b.SENDER, 2)] == IN_ORDER[:2]
            assert [one.seq for one in unit.signed_versions([b.ident(1)])] == IN_ORDER

    def test_the_last_nonce_is_that_of_every_transaction_that_ever_was(self, storage: Any) -> None:
        b.write(
            storage,
            d.StoreTransmission(b.sending(1, nonce=11, status=T.DONE)),
            d.StoreTransmission(b.sending(2, nonce=10, status=T.FAILED)),
            d.StoreTransmission(b.sending(3, nonce=9, status=T.SUBMITTED)),
        )
        with b.looking(storage) as unit:
            assert unit.last_nonce(b.CHAIN, b.SENDER) == 11

    @of_clause(7)
    def test_events_and_deliveries_are_claimed_in_the_order_of_their_numbers(self, storage: Any) -> None:
        lane = LANES[0]
        publish(storage, *(b.event(number, aggregate=lane, seq=seq) for number, seq in enumerate(SHUFFLED, 1)))
        wanted = [b.ident(SHUFFLED.index(seq) + 1) for seq in IN_ORDER]
        assert (claim_events(storage), claim_events(storage, limit=2)) == (wanted, wanted[:2])
        other = LANES[2]
        opened(storage, *(b.delivery(n, aggregate=other, seq=seq, next_at=NOW) for n, seq in enumerate(SHUFFLED, 50)))
        assert claim(storage) == [(other, seq) for seq in IN_ORDER]
        assert claim(storage, limit=2) == [(other, seq) for seq in IN_ORDER[:2]]

    @of_clause(7)
    @pytest.mark.parametrize("ordered", [False, True])
    def test_what_is_due_is_claimed_from_behind_what_is_not(self, storage: Any, ordered: Any) -> None:
        waiting = [b.delivery(n, aggregate=f"customer:{n}", next_at=LATER if n < 4 else NOW) for n in range(1, 6)]
        opened(storage, *waiting)
        assert claim(storage, limit=1, ordered=ordered) == [("customer:4", waiting[3].seq)]
        hints = [b.hint(n, received_at=b.at(n), retry_at=LATER if n < 4 else NOW) for n in range(1, 6)]
        b.write(storage, *map(d.StoreInboxItem, hints))
        with storage.unit() as unit:
            assert [one.event_id for one in unit.claim_inbox(NOW, 1)] == [hints[3].event_id]

    @of_clause(5)
    @pytest.mark.parametrize("amount", b.EXTREMES)
    def test_amounts_that_a_person_decides_about_come_back_exactly(self, storage: Any, amount: Any) -> None:
        item = b.queued(1, amount=amount, ledger_id=None, receipt_id=None, refund_id=None)
        movement = b.movement(1, amount=amount, receipt_id=None, refund_id=None)
        b.seed(storage, d.StoreQueueItem(item), d.StoreMovement(movement), d.StoreTransmission(b.sending(value=amount)))
        with b.looking(storage) as unit:
            assert unit.queue_item(item.item_id).amount == amount
            assert unit.movements([movement.identity])[movement.identity].amount == amount
            assert unit.transmission(b.sending().transmission_id).value == amount

    @of_clause(3)
    def test_a_source_is_posted_once_whatever_it_is_posted_as(self, storage: Any) -> None:
        b.seed(storage, d.PostEntry(b.posting(1, kind=EntryKind.RECEIVED)))
        again = b.posting(2, kind=EntryKind.COMPLETED, source=b.posting(1).source)
        with pytest.raises(AlreadyExists):
            b.write(storage, d.PostEntry(again))
        with b.looking(storage) as unit:
            assert [one.entry_id for one in unit.ledger_entries()] == [b.posting(1).entry_id]

    def test_what_was_recorded_at_the_instant_is_part_of_what_follows(self, storage: Any) -> None:
        b.seed(storage, d.PostEntry(b.posting(1, recorded_at=b.at(5))), d.Publish(b.event(1, recorded_at=b.at(5))))
        with b.looking(storage) as unit:
            assert len(unit.unfolded_entries(b.at(5), 5)) == 1
            assert len(unit.unfolded_entries(b.at(5.000001), 5)) == 0
            assert len(unit.unread_journals("figures", [b.event().type], b.at(5), 5)) == 1
            assert len(unit.unread_journals("figures", [b.event().type], b.at(5.000001), 5)) == 0

    def test_pages_go_on_within_a_transaction_and_within_a_source(self, storage: Any) -> None:
        movements = [b.movement(1, identity=b.identity(7, ordinal=ordinal)) for ordinal in (0, 1, 2, 10)]
        moves = tuple(b.move(1, seq) for seq in (0, 1, 2, 10))
        b.seed(storage, *map(_alone, movements), b.figures(moves=moves))
        with b.looking(storage) as unit:
            assert walked(lambda last: unit.all_movements(after=last, limit=1), lambda row: row.identity, None) == [
                one.identity for one in movements
            ]
            place = walked(
                lambda last: unit.all_figure_moves(after=last, limit=1), lambda m: (m.source, m.seq), ("", -1)
            )
            assert place == [(one.source, one.seq) for one in moves]


def _alone(movement: Any) -> d.Decision:
    """Store a movement that names neither a receipt nor a refund."""
    return d.StoreMovement(attrs.evolve(movement, receipt_id=None, refund_id=None))


def walked(page: Any, place_of: Any, place: Any) -> list[Any]:
    """Return the places of all rows, page after page; a page that repeats itself is not walked for ever."""
    places: list[Any] = []
    while (rows := page(place)) and len(places) < 100:
        place = place_of(rows[-1])
        places += map(place_of, rows)
    return places
