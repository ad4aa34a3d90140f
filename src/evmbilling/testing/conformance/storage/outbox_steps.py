"""Steps of the outbox that several tests take."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain import decisions as d
from evmbilling.domain.messages.events import Event
from evmbilling.domain.messages.messages import Delivery
from evmbilling.ports.storage import Storage
from evmbilling.testing.conformance.storage import records as b

NOW = b.at(1000)
Places = Sequence[tuple[str, int]]
LANES = ("customer:A", "customer:a", "network:x")


def publish(storage: Storage, *events: Event) -> None:
    """Append events to the outbox."""
    b.write(storage, *map(d.Publish, events))


def event_of(delivery: Delivery) -> Event:
    """Return the event that a delivery is of."""
    number = int(delivery.event_id.replace("-", "")[-12:], 16)
    return b.event(number, aggregate=delivery.aggregate, seq=delivery.seq)


def opened(storage: Storage, *deliveries: Delivery) -> None:
    """Publish the events of deliveries and open them."""
    publish(storage, *map(event_of, deliveries))
    b.write(storage, *(d.OpenDeliveries(one.event_id, (one,)) for one in deliveries))


def claim_events(storage: Storage, limit: int = 100) -> Sequence[str]:
    """Return the ids of events that could be handed out now."""
    with storage.unit() as unit:
        return [event.event_id for event in unit.claim_events(limit)]


def claim(storage: Storage, *, limit: int = 100, ordered: bool = False, sink: str = b.SINK) -> Places:
    """Return the places of deliveries that could go now."""
    with storage.unit() as unit:
        return [(one.aggregate, one.seq) for one in unit.claim_deliveries(sink, NOW, limit, ordered=ordered)]
