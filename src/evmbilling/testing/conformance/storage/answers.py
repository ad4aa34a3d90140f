"""Answers are whole: each row with every field, all of what was asked, to the microsecond where something begins."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.reading.watching import Depth
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.states import OrderStatus, SubscriptionStatus
from evmbilling.ports.figures import OrderCount
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.outbox_steps import NOW, opened, publish

JUST = timedelta(microseconds=1)
SEVERAL = (1, 2, 3)


def owing(number: int, status: SubscriptionStatus = SubscriptionStatus.PAST_DUE) -> Any:
    """Return a subscription to a product of its own."""
    return b.subscription(number, product=attrs.evolve(b.SITE, id=str(number)), status=status)


class AnswersChecks:
    """Answers are whole, in number and in time."""

    clause = 10

    @of_clause(7)
    @pytest.mark.parametrize(
        ("seed", "claim"),
        [
            (
                lambda storage, at: opened(storage, b.delivery(next_at=at)),
                lambda unit, now: unit.claim_deliveries(b.SINK, now, 9),
            ),
            (
                lambda storage, at: b.write(storage, d.StoreInboxItem(b.hint(retry_at=at))),
                lambda unit, now: unit.claim_inbox(now, 9),
            ),
            (
                lambda storage, at: b.write(b.seeded(storage), d.StoreDeposit(b.deposit(next_at=at))),
                lambda unit, now: unit.due_deposits(b.CHAIN, now, 9),
            ),
            (
                lambda storage, at: b.write(
                    b.seeded(storage), d.StoreRefund(b.refund()), d.StoreProof(b.proof(next_at=at))
                ),
                lambda unit, now: unit.due_proofs(b.CHAIN, now, 9),
            ),
            (
                lambda storage, at: b.write(storage, d.StoreTransmission(b.sending(next_at=at))),
                lambda unit, now: unit.due_lanes(now),
            ),
        ],
        ids=["deliveries", "hints", "deposits", "proofs", "lanes"],
    )
    def test_what_is_due_is_due_from_that_instant_on(
        self, storage: Any, seed: Callable[..., None], claim: Callable[..., Any]
    ) -> None:
        seed(storage, NOW)
        for now, number in ((NOW - JUST, 0), (NOW, 1)):
            with storage.unit() as unit:
                assert len(claim(unit, now)) == number

    def test_what_is_claimed_or_found_is_the_whole_record(self, storage: Any) -> None:
        first, second = b.entry(seq=1), b.entry(seq=2, kind="final", occurred_at=b.at(7))
        hint, late = b.hint(retry_at=NOW), b.order(5, deadline=b.at(1), closed_as=None, pull=None)
        b.write(b.seeded(storage), d.AppendEntry(first), d.AppendEntry(second))
        b.write(storage, d.StoreInboxItem(hint), d.OpenOrder(late))
        with storage.unit() as unit:
            assert list(unit.entries_of_receipts([b.ident(1)])) == [first, second]
            assert list(unit.claim_inbox(NOW, 9)) == [hint]
            assert list(unit.overdue_offers(b.CHAIN, b.at(2), 9)) == [late]
            assert [one for one in unit.find_orders(OrderFilter()) if one.ledger_id == late.ledger_id] == [late]
            held = unit.lock_customers([b.ALICE, b.BOB])
            assert held == {user: unit.customer(user) for user in (b.ALICE, b.BOB)}

    def test_all_that_is_asked_for_is_answered(self, storage: Any) -> None:
        events = [b.event(n, type=kind) for n, kind in zip(SEVERAL, list(EventType)[:3], strict=True)]
        publish(storage, *events)
        b.seed(storage, *(d.OpenOrder(b.order(n)) for n in SEVERAL), d.AddPlanVersion(b.plan(version=2)))
        ids = [b.ident(n) for n in SEVERAL]
        with b.looking(storage) as unit:
            assert unit.events_by_id([*ids, "x"]) == {event.event_id: event for event in events}
            assert unit.orders([*ids, "x"]) == {ledger_id: unit.order(ledger_id) for ledger_id in ids}
            assert unit.plan_versions([("pro", 1), ("pro", 2), ("pro", 3)]).keys() == {("pro", 1), ("pro", 2)}
            journal = unit.journal_events(events[0].aggregate, list(EventType)[:3], after=0, limit=9)
            assert list(journal) == events
            assert list(unit.journal_events(events[0].aggregate, list(EventType)[1:3], after=1, limit=1)) == events[1:2]

    def test_counts_of_orders_are_told_apart(self, storage: Any) -> None:
        there = attrs.evolve(b.asset(), chain_id=b.OTHER_CHAIN)
        made = [
            b.order(1, status=OrderStatus.EXPIRED, created_at=b.at(0)),
            b.order(2, status=OrderStatus.PENDING, created_at=b.at(1)),
            b.order(3, status=OrderStatus.PENDING, created_at=b.at(2), asset=there),
            b.order(4, status=OrderStatus.PENDING, created_at=b.at(3), asset=there),
        ]
        b.seed(storage, *map(d.OpenOrder, made))

        def count(status: str, chain_id: int, orders: int) -> OrderCount:
            return OrderCount(status=status, chain_id=chain_id, orders=orders)

        with b.looking(storage) as unit:
            assert dict(unit.orders_by_status()) == {"expired": 1, "pending": 3}
            assert list(unit.order_counts(b.at(0), b.at(4))) == [
                count("expired", b.CHAIN, 1),
                count("pending", b.OTHER_CHAIN, 2),
                count("pending", b.CHAIN, 1),
            ]
            assert list(unit.order_counts(b.at(1), b.at(3))) == [
                count("pending", b.OTHER_CHAIN, 1),
                count("pending", b.CHAIN, 1),
            ]
            assert list(unit.order_counts(b.at(0) + JUST, b.at(1))) == []

    def test_who_owes_comes_in_pages(self, storage: Any) -> None:
        statuses = {1: SubscriptionStatus.PAST_DUE, 2: SubscriptionStatus.ACTIVE, 3: SubscriptionStatus.SUSPENDED}
        held = {n: owing(n, status) for n, status in statuses.items()} | {4: owing(4), 5: owing(5)}
        b.seed(storage, *(d.OpenSubscription(held[n]) for n in (5, 3, 2, 1, 4)))
        with b.looking(storage) as unit:
            assert list(unit.owing_subscriptions()) == [held[n] for n in (1, 3, 4, 5)]
            assert list(unit.owing_subscriptions(limit=2)) == [held[1], held[3]]
            assert list(unit.owing_subscriptions(after=b.ident(3), limit=1)) == [held[4]]

    def test_subscriptions_are_counted_by_plan_and_status(self, storage: Any) -> None:
        held = [owing(1), owing(2), owing(3, SubscriptionStatus.ACTIVE)]
        b.seed(storage, *map(d.OpenSubscription, held))
        with b.looking(storage) as unit:
            assert dict(unit.subscriptions_by_plan()) == {("pro", "past_due"): 2, ("pro", "active"): 1}

    def test_depths_are_of_each_sink_and_state(self, storage: Any) -> None:
        events = [b.event(n, recorded_at=b.at(n)) for n in SEVERAL]
        publish(storage, *events)
        states = {1: "dead", 2: "waiting", 3: "waiting"}
        for n, state in states.items():
            two = tuple(b.delivery(n, sink=sink, state=state) for sink in ("a", "b"))
            b.write(storage, d.OpenDeliveries(b.ident(n), two))
        with b.looking(storage) as unit:
            assert dict(unit.delivery_depths()) == {
                (sink, state): Depth(number, b.at(first))
                for sink in ("a", "b")
                for state, number, first in (("dead", 1, 1), ("waiting", 2, 2))
            }

    def test_nonces_are_of_one_sender_on_one_chain(self, storage: Any) -> None:
        b.write(storage, d.StoreTransmission(b.sending(1, nonce=4)), d.StoreTransmission(b.sending(2, nonce=3)))
        with b.looking(storage) as unit:
            assert unit.last_nonce(b.CHAIN, b.SENDER) == 4
            assert unit.last_nonce(b.CHAIN + 1, b.SENDER) is unit.last_nonce(b.CHAIN, b.RECEIVER) is None

    def test_nonces_that_were_used_up_in_blocks_are_told_by_their_time_and_counted(self, storage: Any) -> None:
        early, late = (attrs.evolve(b.MINED, block_time=b.at(minute)) for minute in (4, 6))
        b.write(
            storage,
            d.StoreTransmission(b.sending(1, nonce=3, mined=early, status="mined")),
            d.StoreTransmission(b.sending(2, nonce=5, mined=late, status="mined")),
            d.StoreTransmission(b.sending(3, nonce=6, status="submitted")),
            d.StoreTransmission(b.sending(4, nonce=4, mined=early, status="mined", sender=b.RECEIVER)),
            d.StoreTransmission(b.sending(5, nonce=4, mined=early, status="mined", chain_id=b.CHAIN + 1)),
        )
        with b.looking(storage) as unit:
            before = [unit.last_nonce(b.CHAIN, b.SENDER, mined_before=b.at(minute)) for minute in (4, 6, 7)]
            assert before == [None, 3, 5]
            counts = [unit.count_mined(b.CHAIN, b.SENDER, *span) for span in ((0, 7), (3, 5), (4, 6), (6, 9))]
            assert counts == [2, 1, 1, 0]

    def test_movements_are_of_half_open_spans(self, storage: Any) -> None:
        moves = tuple(b.move(n, occurred_at=b.at(60 + n)) for n in SEVERAL)
        b.write(storage, b.figures(moves=moves, cells=()))
        with b.looking(storage) as unit:
            assert list(unit.figure_moves(since=b.at(61), until=b.at(64))) == list(moves)
            assert list(unit.figure_moves(since=b.at(61) + JUST, until=b.at(63))) == [moves[1]]
            assert list(unit.figure_moves(since=b.at(62), until=b.at(62) + JUST)) == [moves[1]]
