"""The outbox: each event is handed out once, each delivery is in one unit's hands, first attempts go in order."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from evmbilling.domain import decisions as d
from evmbilling.errors import Conflict, StorageError, VersionConflict
from evmbilling.testing.conformance.base import of_clause
from evmbilling.testing.conformance.storage import records as b
from evmbilling.testing.conformance.storage.outbox_steps import LANES, NOW, claim, claim_events, opened, publish

LANE = "customer:A"

LATER = b.at(1001)


def lane(*states: Any) -> Any:
    """Return deliveries of one aggregate: ``u`` untried, ``t`` tried, ``d`` done, ``x`` dead; capital letters wait."""
    return [
        b.delivery(
            number,
            aggregate=LANE,
            seq=number,
            attempts=0 if state in "uU" else 1,
            state={"d": "done", "x": "dead"}.get(state, "waiting"),
            next_at=LATER if state.isupper() else NOW,
        )
        for number, state in enumerate(states, 1)
    ]


class OutboxChecks:
    """The outbox: each event is handed out once, each delivery is in one unit's hands, first attempts go in order."""

    clause = 7

    @pytest.mark.parametrize(
        "delivery",
        [
            b.delivery(),
            b.delivery(
                state="done",
                attempts=9,
                next_at=b.at(5.000001),
                done_at=b.at(7),
                status_code=204,
                error="größer",
                sink="notifier:log",
            ),
            b.delivery(state="dead", status_code=500, error="http_500"),
        ],
        ids=["waiting", "done", "dead"],
    )
    def test_a_delivery_comes_back_with_every_field(self, storage: Any, delivery: Any) -> None:
        opened(storage, delivery)
        with b.looking(storage) as unit:
            assert unit.delivery(delivery.event_id, delivery.sink) == delivery
            assert list(unit.deliveries()) == [delivery]
            assert list(unit.deliveries(sink=delivery.sink, state=delivery.state)) == [delivery]
            assert list(unit.deliveries(sink="x")) == list(unit.deliveries(state="x")) == []
            assert unit.delivery(delivery.event_id, "x") is unit.delivery("x", delivery.sink) is None

    @pytest.mark.parametrize(
        "endpoint",
        [b.endpoint(), b.endpoint(secrets=(), events=(), ordered=False, disabled_at=None, disabled_reason=None)],
        ids=["full", "bare"],
    )
    def test_an_endpoint_comes_back_with_every_field(self, storage: Any, endpoint: Any) -> None:
        second = attrs.evolve(endpoint, endpoint_id=b.ident(2))
        b.write(storage, d.SaveEndpoint(second), d.SaveEndpoint(endpoint))
        with b.looking(storage) as unit:
            assert unit.endpoint(endpoint.endpoint_id) == endpoint
            assert list(unit.endpoints()) == [endpoint, second]
            assert unit.endpoint("x") is None

    def test_one_event_is_read_by_its_id(self, storage: Any) -> None:
        publish(storage, b.event(1), b.event(2))
        with b.looking(storage) as unit:
            assert unit.event(b.ident(2)) == b.event(2)
            assert unit.event(b.ident(3)) is None
            unit.event(b.ident(2)).data["more"] = 1
            assert unit.event(b.ident(2)) == b.event(2)

    @of_clause(10)
    @pytest.mark.parametrize("trace", [b.event().trace, None])
    def test_every_read_of_an_event_says_in_which_span_it_was_published(self, storage: Any, trace: Any) -> None:
        event = b.event(1, trace=trace)
        publish(storage, event)
        with storage.unit() as unit:
            found = [
                *unit.events(),
                *unit.events(aggregate=event.aggregate),
                unit.event(event.event_id),
                *unit.events_by_id([event.event_id]).values(),
                *unit.claim_events(1),
                *unit.journal_events(event.aggregate, [event.type], after=0, limit=1),
            ]
        # Two events that differ in their span alone are equal: what is compared has to be named.
        assert [(one, one.trace) for one in found] == [(event, trace)] * 6

    def test_events_are_handed_out_by_aggregate_and_number_not_by_id(self, storage: Any) -> None:
        events = [b.event(9 - n, aggregate=LANES[n % 3], seq=n // 3 + 1) for n in range(9)]
        publish(storage, *events)
        ordered = [event.event_id for event in sorted(events, key=lambda event: (event.aggregate, event.seq))]
        assert claim_events(storage) == ordered
        assert claim_events(storage, limit=4) == ordered[:4]
        b.write(storage, *(d.OpenDeliveries(event_id, ()) for event_id in ordered[:4]))
        assert claim_events(storage) == ordered[4:]

    def test_an_event_is_handed_out_once(self, storage: Any) -> None:
        publish(storage, b.event(1))
        two = (b.delivery(1), b.delivery(1, sink="notifier:log"))
        b.write(storage, d.OpenDeliveries(b.ident(1), two))
        tried = attrs.evolve(two[0], attempts=1, version=2)
        b.write(storage, d.StoreDelivery(tried))
        b.write(storage, d.OpenDeliveries(b.ident(1), two), d.OpenDeliveries(b.ident(1), two))
        assert claim_events(storage) == []
        with b.looking(storage) as unit:
            assert list(unit.deliveries()) == sorted((tried, two[1]), key=lambda one: one.sink)
            assert list(unit.events()) == [b.event(1)]

    @pytest.mark.fault("D14")
    def test_d14_deliveries_are_of_events_that_are_there(self, storage: Any) -> None:
        publish(storage, b.event(1))
        for decision in (
            d.OpenDeliveries(b.ident(9), (b.delivery(9),)),
            d.OpenDeliveries(b.ident(1), (b.delivery(9),)),
        ):
            with pytest.raises(StorageError):
                b.write(storage, decision)
        with b.looking(storage) as unit:
            assert list(unit.deliveries()) == []
        assert claim_events(storage) == [b.ident(1)]

    def test_a_hand_out_that_is_rolled_back_is_none(self, storage: Any) -> None:
        publish(storage, b.event(1))
        with pytest.raises(ZeroDivisionError), storage.unit() as unit:  # noqa: PT012  - the unit is what raises
            unit.apply([d.OpenDeliveries(b.ident(1), (b.delivery(),))])
            assert list(unit.claim_events(5)) == []
            raise ZeroDivisionError
        assert claim_events(storage) == [b.ident(1)]
        assert claim(storage) == []

    def test_a_delivery_is_replaced_only_by_the_version_after_it(self, storage: Any) -> None:
        opened(storage, b.delivery())
        with pytest.raises(VersionConflict):
            b.write(storage, d.StoreDelivery(b.delivery(2, version=2)))
        for version in (2, 3):
            b.write(storage, d.StoreDelivery(b.delivery(version=version, attempts=version, next_at=b.at(version))))
            for wrong in (1, version, version + 2):
                with pytest.raises(Conflict):
                    b.write(storage, d.StoreDelivery(b.delivery(version=wrong)))
        with b.looking(storage) as unit:
            assert unit.delivery(b.ident(1), b.SINK) == b.delivery(version=3, attempts=3, next_at=b.at(3))

    @pytest.mark.parametrize(
        ("states", "free", "ordered"),
        [
            ("uuu", [1, 2, 3], [1]),
            ("tuu", [1, 2, 3], [1]),
            ("Tuu", [2, 3], []),
            ("Uuu", [], []),
            ("uUu", [1], [1]),
            ("Utu", [2], []),
            ("UTtu", [3], []),
            ("TtUut", [2, 5], []),
            ("du", [2], [2]),
            ("xu", [2], [2]),
            ("dxtu", [3, 4], [3]),
            ("dTu", [3], []),
            ("udu", [1, 3], [1]),
            ("ddd", [], []),
            ("TTT", [], []),
        ],
    )
    def test_first_attempts_go_in_order_and_an_ordered_sink_waits(
        self, storage: Any, states: Any, free: Any, ordered: Any
    ) -> None:
        opened(storage, *lane(*states))
        assert claim(storage) == [(LANE, seq) for seq in free]
        assert claim(storage, ordered=True) == [(LANE, seq) for seq in ordered]
        assert claim(storage, limit=1) == [(LANE, seq) for seq in free[:1]]
        assert claim(storage, sink="notifier:other") == []

    def test_another_sink_or_aggregate_holds_nothing_back(self, storage: Any) -> None:
        stuck = b.delivery(1, aggregate=LANE, seq=1, next_at=LATER)
        opened(storage, stuck, b.delivery(2, aggregate=LANE, seq=2), b.delivery(3, aggregate="customer:B", seq=5))
        b.write(storage, d.OpenDeliveries(b.ident(2), (b.delivery(2, aggregate=LANE, seq=2, sink="notifier:log"),)))
        assert claim(storage) == claim(storage, ordered=True) == [("customer:B", 5)]
        assert claim(storage, sink="notifier:log", ordered=True) == [(LANE, 2)]
        with storage.unit() as unit:
            later = [(one.aggregate, one.seq) for one in unit.claim_deliveries(b.SINK, LATER, 100)]
        assert later == [(LANE, 1), (LANE, 2), ("customer:B", 5)]

    def test_deliveries_come_by_aggregate_and_number(self, storage: Any) -> None:
        deliveries = [b.delivery(9 - n, aggregate=LANES[n % 3], seq=n // 3 + 1) for n in range(9)]
        opened(storage, *deliveries)
        ordered = sorted((one.aggregate, one.seq) for one in deliveries)
        assert claim(storage) == ordered
        assert claim(storage, limit=5) == ordered[:5]
        assert claim(storage, ordered=True) == [(name, 1) for name in sorted(LANES)]

    @pytest.mark.parametrize(
        "use",
        [lambda unit: unit.claim_events(1), lambda unit: unit.claim_deliveries(b.SINK, NOW, 1)],
        ids=["events", "deliveries"],
    )
    def test_a_unit_for_reading_claims_nothing(self, storage: Any, use: Any) -> None:
        with b.looking(storage) as unit, pytest.raises(StorageError):
            use(unit)

    def test_deliveries_of_whole_events_come_in_pages(self, storage: Any) -> None:
        sinks = ("notifier:log", "webhook:1", "webhook:2")
        publish(storage, *(b.event(n) for n in range(1, 6)))
        for n in (3, 1, 5, 2, 4):
            b.write(storage, d.OpenDeliveries(b.ident(n), tuple(b.delivery(n, sink=sink) for sink in sinks)))
        for limit in (1, 2, 3, 5, 6, 100):
            found, after = [], ""
            with b.looking(storage) as unit:
                while page := unit.deliveries(after=after, limit=limit):
                    found += [(one.event_id, one.sink) for one in page]
                    after = page[-1].event_id
            assert found == [(b.ident(n), sink) for n in range(1, 6) for sink in sinks]
