"""Figures and documents: what is not taken in yet is found, what is written comes back, and one folder wins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.books.figure_records import LONG_AGO
from evmbilling.domain.books.receipt_documents import IssueDocument
from evmbilling.domain.books.rollups import start_of
from evmbilling.domain.books.span_totals import Part
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.errors import AlreadyExists, VersionConflict
from evmbilling.ports.figures import OrderCount
from evmbilling.testing.conformance.storage import records as b

TYPES = ("billing.payment.confirmed.v1", "billing.subscription.moved.v1")


def told(number: Any, *, user: Any = b.ALICE, seq: Any = None, kind: Any = TYPES[0], at: Any = None) -> Any:
    """An event of a customer."""
    when = b.at(number) if at is None else at
    return d.Publish(
        b.event(number, aggregate=f"customer:{user}", seq=seq or number, type=kind, recorded_at=when, occurred_at=when)
    )


class FiguresChecks:
    """Figures and documents: what is not taken in yet is found, what is written comes back, and one folder wins."""

    clause = 10

    def test_what_a_folder_writes_comes_back(self, storage: Any) -> None:
        b.write(storage, b.figures())
        with b.looking(storage) as unit:
            assert unit.figure_state("figures") == b.figure_state()
            assert unit.figure_state("receipts").version == 0
            assert list(unit.all_figure_moves()) == [b.move()]
            assert list(unit.figure_cells("quarter")) == [b.cell()]
            ((mark, _),) = unit.unread_journals("figures", TYPES, LONG_AGO, 5) or ((b.journal_mark(), None),)
            assert mark == b.journal_mark()

    def test_one_folder_wins_and_the_other_leaves_nothing(self, storage: Any) -> None:
        b.write(storage, b.figures())
        with pytest.raises(VersionConflict):
            b.write(storage, b.figures(1, moves=(b.move(2),)))
        with pytest.raises(VersionConflict):
            b.write(storage, b.figures(3, moves=(b.move(2),)))
        with pytest.raises(AlreadyExists):
            b.write(storage, b.figures(2))
        with b.looking(storage) as unit:
            assert list(unit.all_figure_moves()) == [b.move()]
            assert unit.figure_state("figures").version == 1

    def test_sums_are_replaced_made_anew_and_coarsened(self, storage: Any) -> None:
        day = b.cell(grain="day", starts_at=start_of("day", b.at(60)), amount=5)
        later = b.cell(starts_at=start_of("quarter", b.at(4000)))
        b.write(storage, b.figures(cells=(b.cell(), day, later)))
        b.write(storage, b.figures(2, moves=(), cells=(attrs.evolve(day, amount=0, items=0),)))
        with b.looking(storage) as unit:
            assert list(unit.figure_cells("quarter")) == sorted([b.cell(), later], key=lambda cell: cell.key)
            assert [(cell.amount, cell.items) for cell in unit.figure_cells("day")] == [(0, 0)]
            assert list(unit.figure_cells("quarter", starts=[later.starts_at], series=["mrr_new"])) == [later]
            assert list(unit.figure_cells("quarter", since=later.starts_at)) == [later]
            assert list(unit.figure_cells("quarter", series=["mrr_churn"])) == []
            assert list(unit.figure_cells("quarter", starts=[])) == []
        b.write(storage, b.figures(3, moves=(), cells=(), coarsen_before=later.starts_at))
        with b.looking(storage) as unit:
            assert list(unit.figure_cells("quarter")) == [later]
        b.write(storage, b.figures(4, moves=(), cells=(day,), afresh=True))
        with b.looking(storage) as unit:
            assert list(unit.figure_cells("quarter")) == []
            assert list(unit.figure_cells("day")) == [day]

    def test_sums_are_added_up_by_the_place_that_they_are_part_of(self, storage: Any) -> None:
        coin, huge, at = b.cell().asset, 10**60 + 7, start_of("quarter", b.at(60))
        later, day = at + timedelta(hours=3), start_of("day", at)
        cells = (
            b.cell(per=1, amount=huge, items=3),
            b.cell(per=1, starts_at=later, amount=4, items=-1),
            b.cell(starts_at=later, per=12, amount=1, items=1),
            b.cell(per=1, starts_at=later, series="received", amount=-5, items=1),
            b.cell(per=1, grain="day", starts_at=day, amount=huge + 9, items=2),
        )
        b.write(storage, b.figures(cells=cells))
        parts = [
            Part(0, "quarter", at, 1),
            Part(0, "quarter", later, -1),
            Part(7, "quarter", later, 1),
            Part(7, "day", day, -1),
            Part(8, "quarter", at, -1, onwards=True),
            Part(8, "quarter", later, 1),
            Part(9, "hour", at, 1),
        ]

        def found(asked: Any, *series: Any) -> Any:
            with b.looking(storage) as unit:
                totals = list(unit.figure_totals(asked, series))
            names = {(t[2:4], t[5:7]) for t in totals}
            assert names <= {((coin.chain_id, coin.token), (coin.decimals, coin.symbol))}
            assert all(type(number) is int for total in totals for number in total[-2:])
            known = {(place, name, per): (amount, items) for place, name, _, _, per, _, _, amount, items in totals}
            assert len(known) == len(totals), "one total of a kind"
            return {key: total for key, total in known.items() if any(total)}

        new = {
            (0, "mrr_new", 1): (huge - 4, 4),
            (0, "mrr_new", 12): (-1, -1),
            (7, "mrr_new", 1): (4 - huge - 9, -3),
            (7, "mrr_new", 12): (1, 1),
            (8, "mrr_new", 1): (-huge, -3),
        }
        assert found(parts, "mrr_new") == new
        money = {(0, "received", 1): (5, -1), (7, "received", 1): (-5, 1)}
        assert found(parts, "mrr_new", "received") == new | money
        assert found(parts[:1], "received") == found(parts[-1:], "mrr_new") == {}
        assert found((), "mrr_new") == found(parts) == {}

    def test_movements_are_found_by_when_they_happened_and_when_we_learned(self, storage: Any) -> None:
        late, prompt = b.move(1), b.move(2, recorded_at=b.at(61), series="received")
        b.write(storage, b.figures(moves=(prompt, late, b.move(1, 1, occurred_at=b.at(500), recorded_at=b.at(501)))))

        def found(**asked: Any) -> Any:
            with b.looking(storage) as unit:
                moves = unit.figure_moves(**({"since": b.at(60), "until": b.at(61)} | asked))
                return [(move.source, move.seq) for move in moves]

        assert found() == [("event:1", 0), ("event:2", 0)]
        assert found(late=True) == [("event:1", 0)]
        assert found(late=False) == [("event:2", 0)]
        assert found(recorded_after=b.at(61)) == [("event:1", 0)]
        assert found(series=["received"]) == [("event:2", 0)]
        assert found(until=b.at(60)) == []
        assert found(until=b.at(501)) == [("event:1", 0), ("event:1", 1), ("event:2", 0)]
        with b.looking(storage) as unit:
            assert [m.seq for m in unit.all_figure_moves(limit=2)] == [0, 1]
            assert [m.source for m in unit.all_figure_moves(after=("event:1", 1))] == ["event:2"]

    def test_entries_without_movements_are_found_whatever_their_ids_say(self, storage: Any) -> None:
        b.seeded(storage)
        first, second = b.posting(1, recorded_at=b.at(10)), b.posting(2, recorded_at=b.at(5))
        b.write(storage, d.PostEntry(first), d.PostEntry(second))
        with b.looking(storage) as unit:
            assert list(unit.unfolded_entries(LONG_AGO, 5)) == [second, first]
            assert list(unit.unfolded_entries(LONG_AGO, 1)) == [second]
            assert list(unit.unfolded_entries(b.at(6), 5)) == [first]
        b.write(storage, b.figures(moves=(b.move(source=f"entry:{second.entry_id}"),)))
        with b.looking(storage) as unit:
            assert list(unit.unfolded_entries(LONG_AGO, 5)) == [first]

    def test_journals_are_read_on_from_where_they_were_left(self, storage: Any) -> None:
        b.write(storage, told(1), told(2, kind="billing.plan.changed.v1"), told(3), told(4, user=b.BOB, seq=1))
        own = f"customer:{b.ALICE}"

        def unread(since: Any = LONG_AGO, limit: Any = 5, reader: Any = "figures") -> Any:
            with b.looking(storage) as unit:
                return [(m.aggregate, m.seq, at) for m, at in unit.unread_journals(reader, TYPES, since, limit)]

        assert unread() == [(own, 0, b.at(1)), (f"customer:{b.BOB}", 0, b.at(4))]
        assert unread(limit=1) == [(own, 0, b.at(1))]
        assert unread(since=b.at(4)) == [(f"customer:{b.BOB}", 0, b.at(4))]
        b.write(storage, b.figures(marks=(b.journal_mark(seq=1),)))
        assert unread() == [(own, 1, b.at(3)), (f"customer:{b.BOB}", 0, b.at(4))]
        assert unread(reader="receipts")[0] == (own, 0, b.at(1))
        with b.looking(storage) as unit:
            ((mark, _), _) = unit.unread_journals("figures", TYPES, LONG_AGO, 5)
            assert mark == b.journal_mark(seq=1)
            assert [e.seq for e in unit.journal_events(own, TYPES, after=0, limit=5)] == [1, 3]
            assert [e.seq for e in unit.journal_events(own, TYPES, after=1, limit=5)] == [3]
            assert [e.seq for e in unit.journal_events(own, TYPES, after=0, limit=1)] == [1]
        b.write(storage, b.figures(2, moves=(), cells=(), marks=(b.journal_mark(seq=3),)))
        assert unread() == [(f"customer:{b.BOB}", 0, b.at(4))]

    def test_orders_are_counted_by_status_and_chain(self, storage: Any) -> None:
        b.seed(storage)
        made = [b.order(n, created_at=b.at(n * 3600)) for n in (1, 2, 3)]
        b.write(storage, *(d.OpenOrder(order) for order in made))
        with b.looking(storage) as unit:
            (found,) = unit.order_counts(b.at(3600), b.at(3 * 3600))
            assert found == OrderCount(status=str(made[0].status), chain_id=b.CHAIN, orders=2)
            assert list(unit.order_counts(b.at(10**6), b.at(10**7))) == []

    def test_who_owes_is_found(self, storage: Any) -> None:
        b.seed(storage)
        held = b.subscription(status=SubscriptionStatus.PAST_DUE)
        b.write(storage, d.OpenSubscription(held))
        with b.looking(storage) as unit:
            assert list(unit.owing_subscriptions()) == [held]
            assert list(unit.owing_subscriptions(after=held.subscription_id)) == []
        b.write(storage, d.StoreSubscription(attrs.evolve(held, status=SubscriptionStatus.ACTIVE, version=2)))
        with b.looking(storage) as unit:
            assert list(unit.owing_subscriptions()) == []

    def test_documents_come_back_and_each_number_and_source_is_taken_once(self, storage: Any) -> None:
        b.seed(storage)
        second = b.document(2, subject="order:2", user_id=None, kind="correction", corrects=1)
        b.write(storage, b.issued(), IssueDocument(second))
        with b.looking(storage) as unit:
            assert (unit.document("R", 1), unit.document("R", 2)) == (b.document(), second)
            assert (unit.document("R", 3), unit.document("S", 1)) == (None, None)
            assert (unit.last_serial("R"), unit.last_serial("S")) == (2, 0)
            assert list(unit.documents_of_subjects(["order:2", "order:1", "order:1"])) == [b.document(), second]
            assert list(unit.documents_of_user(b.ALICE)) == [b.document()]
            assert (unit.buyer_note("R", 1), unit.buyer_note("R", 2)) == (b.note(), None)
        for again in (b.document(1, source="other"), b.document(3, source="event:1")):
            with pytest.raises(AlreadyExists):
                b.write(storage, IssueDocument(again))

    def test_a_user_s_documents_come_in_pages_the_newest_first(self, storage: Any) -> None:
        b.seed(storage)
        b.write(storage, *(b.issued(n) for n in (1, 2, 3)), IssueDocument(b.document(1, series="A", source="a")))
        with b.looking(storage) as unit:
            numbers = [found.number for found in unit.documents_of_user(b.ALICE)]
            assert numbers == ["R-000003", "R-000002", "R-000001", "A-000001"]
            page = unit.documents_of_user(b.ALICE, before=("R", 3), limit=1)
            assert [found.number for found in page] == ["R-000002"]
            assert [found.number for found in unit.documents_of_user(b.ALICE, before=("R", 1))] == ["A-000001"]

    def test_an_erased_customer_leaves_documents_without_a_buyer(self, storage: Any) -> None:
        b.seed(storage)
        b.write(storage, b.issued())
        with storage.unit() as unit:
            gone = attrs.evolve(unit.lock_customers([b.ALICE])[b.ALICE], erased_at=b.at(9), version=2)
            unit.apply([d.EraseCustomer(gone)])
        with b.looking(storage) as unit:
            assert unit.buyer_note("R", 1) is None
            assert unit.document("R", 1) == b.document()
