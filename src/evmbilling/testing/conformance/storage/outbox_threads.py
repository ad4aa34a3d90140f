"""Many dispatchers: each event and each delivery is in one unit's hands, in order, and none is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.testing.conformance.crowds import again, crowd, elsewhere
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.base import StorageKit
from evmbilling.testing.conformance.storage.outbox_steps import (
    LANES,
    NOW,
    claim,
    claim_events,
    event_of,
    opened,
    publish,
)


def delivery_of(event: Any) -> Any:
    return b.delivery(aggregate=event.aggregate, seq=event.seq, event_id=event.event_id)


def unsent(storage: Any) -> Any:
    return claim_events(storage, 1)


def drained(storage: Any, work: Any, left: Any) -> Any:
    """Work until nothing is left: an empty hand may mean that others hold what there is."""

    def drain(number: Any) -> Any:
        taken = []
        while (some := again(lambda: work(number))) or again(lambda: left(storage)):
            taken += some
        return taken

    return drain


@contextmanager
def holding_events(storage: Any, limit: Any) -> Iterator[Any]:
    with storage.unit() as unit:
        assert len(unit.claim_events(limit)) == limit
        yield unit


@contextmanager
def holding_deliveries(storage: Any, limit: Any) -> Iterator[Any]:
    with storage.unit() as unit:
        assert len(unit.claim_deliveries(b.SINK, NOW, limit)) == limit
        yield unit


def publish_one(storage: Any, user: Any, event: Any) -> None:
    with storage.unit() as unit:
        unit.lock_customers([user])
        unit.apply([d.Publish(event)])


def dispatch_some(storage: Any, claims: Any, committed: Any) -> None:
    claim = object()
    with storage.unit() as unit:
        claimed = unit.claim_events(2)
        claims += [(claim, event.aggregate, event.seq) for event in claimed]  # before others can go on
        unit.apply([d.OpenDeliveries(event.event_id, (delivery_of(event),)) for event in claimed])
    committed.add(claim)


class OutboxThreadsChecks(StorageKit):
    """Many dispatchers: each event and each delivery is in one unit's hands, in order, and none is skipped."""

    clause = 7

    def test_four_threads_hand_each_event_out_once(self, storage: Any) -> None:
        events = [b.event(n + 1, aggregate=LANES[n % 3], seq=n // 3 + 1) for n in range(36)]
        publish(storage, *events)

        def hand_out(_: Any) -> Any:
            with storage.unit() as unit:
                claimed = unit.claim_events(4)
                unit.apply([d.OpenDeliveries(event.event_id, (delivery_of(event),)) for event in claimed])
                return [event.event_id for event in claimed]

        taken = [event_id for mine in crowd(drained(storage, hand_out, unsent), size=4) for event_id in mine]
        assert sorted(taken) == sorted(event.event_id for event in events)
        with b.looking(storage) as unit:
            assert len(unit.deliveries()) == 36

    @pytest.mark.parametrize("ordered", [False, True], ids=["free", "ordered"])
    def test_four_threads_deliver_each_once_and_in_order(self, storage: Any, ordered: Any) -> None:
        count = 10
        deliveries = [
            b.delivery(10 * n + k, aggregate=name, seq=k) for n, name in enumerate(LANES) for k in range(1, count)
        ]
        opened(storage, *deliveries)
        sent = []

        def send(_: Any) -> Any:
            with storage.unit() as unit:
                claimed = unit.claim_deliveries(b.SINK, NOW, 3, ordered=ordered)
                sent.extend((one.aggregate, one.seq) for one in claimed)
                unit.apply(
                    [
                        d.StoreDelivery(attrs.evolve(one, state="done", attempts=1, done_at=NOW, version=2))
                        for one in claimed
                    ]
                )
                return [(one.aggregate, one.seq) for one in claimed]

        taken = [place for mine in crowd(drained(storage, send, lambda s: claim(s, limit=1)), size=4) for place in mine]
        assert sorted(taken) == sorted((one.aggregate, one.seq) for one in deliveries)
        if len(sent) == len(taken):  # no unit was run again
            for name in LANES:
                assert [seq for aggregate, seq in sent if aggregate == name] == list(range(1, count))

    def test_what_another_unit_holds_is_passed_over_with_what_follows_it(self, storage: Any) -> None:
        deliveries = [b.delivery(10 * n + k, aggregate=name, seq=k) for n, name in enumerate(LANES) for k in (1, 2, 3)]
        publish(storage, *map(event_of, deliveries))
        first, *others = sorted(LANES)

        def events_left() -> Any:
            with storage.unit() as unit:
                return [(event.aggregate, event.seq) for event in unit.claim_events(100)]

        free = [(name, seq) for name in others for seq in (1, 2, 3)]
        if not self.concurrent_writers:
            assert events_left() == [(first, seq) for seq in (1, 2, 3)] + free
        else:
            with elsewhere(lambda: holding_events(storage, 1)):
                assert events_left() == free
        b.write(storage, *(d.OpenDeliveries(one.event_id, (one,)) for one in deliveries))
        if not self.concurrent_writers:
            assert claim(storage) == [(first, seq) for seq in (1, 2, 3)] + free
        else:
            with elsewhere(lambda: holding_deliveries(storage, 1)):
                assert claim(storage) == free
                assert claim(storage, ordered=True) == [(name, 1) for name in others]
        assert claim(storage) == [(first, seq) for seq in (1, 2, 3)] + free

    @pytest.mark.fault("D28")
    def test_d28_an_event_with_a_later_id_commits_first_and_none_is_skipped(self, storage: Any) -> None:
        b.seed(storage)
        early, late = b.event(1, aggregate="customer:B", seq=1), b.event(2, aggregate="customer:A", seq=1)

        @contextmanager
        def slow() -> Iterator[Any]:
            with storage.unit() as unit:
                unit.apply([d.Publish(early)])
                yield unit

        def hand_out() -> Any:
            with storage.unit() as unit:
                claimed = [event.event_id for event in unit.claim_events(10)]
                unit.apply([d.OpenDeliveries(event_id, ()) for event_id in claimed])
                return claimed

        if self.concurrent_writers:
            with elsewhere(slow):
                publish(storage, late)
                assert hand_out() == [late.event_id]
        else:
            publish(storage, late)
            assert hand_out() == [late.event_id]
            publish(storage, early)
        assert hand_out() == [early.event_id]
        assert hand_out() == []

    @pytest.mark.fault("D28")
    def test_d28_dispatchers_beside_publishers_skip_nothing_and_keep_the_order(self, storage: Any) -> None:
        users, each = ("A", "B", "C"), 8
        b.seed(storage, users=users)
        claims, committed = [], set()

        def handed_out() -> Any:
            return [(name, seq) for claim, name, seq in list(claims) if claim in committed]

        def publish_some(number: Any) -> None:
            # The newest event has the lowest id, so that reading by id would pass over it.
            for seq in range(1, each + 1):
                event = b.event(100 * number + 50 - seq, aggregate=f"customer:{users[number]}", seq=seq)
                again(partial(publish_one, storage, users[number], event))

        def dispatch(_: Any) -> None:
            for _ in range(2000):
                again(lambda: dispatch_some(storage, claims, committed))
                if len(handed_out()) >= each * len(users):
                    return

        crowd(lambda number: publish_some(number) if number < len(users) else dispatch(number), size=2 * len(users))
        dispatch(0)  # a file's lock is not fair: a publisher may have come last
        assert len(handed_out()) == len(set(handed_out())) == each * len(users)
        for user in users:
            assert [seq for name, seq in handed_out() if name == f"customer:{user}"] == list(range(1, each + 1))
        assert claim_events(storage) == []
