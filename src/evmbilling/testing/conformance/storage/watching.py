"""What an operator counts: the same in every storage."""

from __future__ import annotations

from typing import Any

from evmbilling.domain import decisions as d
from evmbilling.domain.reading.watching import Depth
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.outbox_steps import opened, publish

QUEUE = [("suspense", "open"), ("suspense", "open"), ("held", "open"), ("duplicate", "decided")]


class WatchingChecks:
    """What an operator counts: the same in every storage."""

    clause = 10

    def test_leases_are_listed_by_name_after_their_time_too(self, storage: Any, clock: FrozenClock) -> None:
        assert list(storage.leases()) == []
        late = storage.acquire_lease("worker:b", "x", 5)
        early = storage.acquire_lease("reader:1", "y", 60)
        clock.advance(seconds=6)
        assert list(storage.leases()) == [early, late]

    def test_nothing_is_counted_where_there_is_nothing(self, storage: Any) -> None:
        with b.looking(storage) as unit:
            assert (dict(unit.subscriptions_by_plan()), dict(unit.orders_by_status())) == ({}, {})
            assert unit.outbox_depth() == Depth(0)
            assert dict(unit.delivery_depths()) == {}
            assert dict(unit.queue_depths()) == {}
            assert dict(unit.deposit_depths()) == {}

    def test_addresses_that_hold_something_are_counted_by_chain_and_state(self, storage: Any) -> None:
        b.write(b.seeded(storage), *(d.OpenOrder(b.order(n)) for n in (2, 3, 4, 5)))
        rows = [
            b.deposit(1, failures=0, seen_at=b.at(3)),
            b.deposit(2, failures=0, seen_at=b.at(2)),
            b.deposit(3, seen_at=b.at(4)),
            b.deposit(4, held=0, seen_at=None),
            b.deposit(5, chain_id=b.CHAIN + 1, next_at=None, failures=0, seen_at=b.at(5)),
        ]
        b.write(storage, *map(d.StoreDeposit, rows))
        with b.looking(storage) as unit:
            assert dict(unit.deposit_depths()) == {
                (b.CHAIN, "stuck"): Depth(1, b.at(4)),
                (b.CHAIN, "waiting"): Depth(2, b.at(2)),
                (b.CHAIN + 1, "stuck"): Depth(1, b.at(5)),
            }

    def test_open_items_of_the_queue_are_counted_by_kind(self, storage: Any) -> None:
        items = [b.queued(n, kind=kind, state=state, opened_at=b.at(60 - n)) for n, (kind, state) in enumerate(QUEUE)]
        b.write(storage, *(d.StoreQueueItem(item) for item in items))
        with b.looking(storage) as unit:
            found = dict(unit.queue_depths())
        assert {kind: depth.count for kind, depth in found.items()} == {"held": 1, "suspense": 2}
        suspense = [item.opened_at for item in items if (item.kind, item.state) == ("suspense", "open")]
        assert found["suspense"].oldest == min(suspense)

    def test_deliveries_are_counted_by_sink_and_state(self, storage: Any) -> None:
        opened(storage, b.delivery())
        with b.looking(storage) as unit:
            (waiting,) = unit.deliveries()
            event = next(e for e in unit.events() if e.event_id == waiting.event_id)
            assert dict(unit.delivery_depths()) == {(waiting.sink, "waiting"): Depth(1, event.recorded_at)}

    def test_events_that_nobody_was_given_are_counted(self, storage: Any) -> None:
        publish(storage, b.event(1, seq=1), b.event(2, seq=2))
        with b.looking(storage) as unit:
            assert unit.outbox_depth() == Depth(2, min(event.recorded_at for event in unit.events()))
