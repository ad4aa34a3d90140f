"""What people are spared: a payment that was reversed and came back before they would have been told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from evmbilling.domain.messages.delivery import RESTORED
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.messages.messages import Delivery
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.ports.storage import Unit

_MOST_REVERSALS = 1000


class Quiet:
    """Decides inside the transaction that claims; ``count`` says how many deliveries were spared."""

    def __init__(self, unit: Unit, now: datetime) -> None:
        self._unit = unit
        self._now = now
        self._events: dict[str, Event] = {}
        self._spared: set[tuple[str, str]] = set()
        self.count = 0

    def events(self, deliveries: Sequence[Delivery]) -> Sequence[Event]:
        """Return the events of these deliveries, in their order; each is read once."""
        missing = {delivery.event_id for delivery in deliveries} - set(self._events)
        if missing:
            self._events |= self._unit.events_by_id(missing)
        return [self._events[delivery.event_id] for delivery in deliveries]

    def spares(self, delivery: Delivery, event: Event) -> bool:
        """Whether people need not hear this: a reversal that is undone by now, or its restoration."""
        if event.type is EventType.PAYMENT_REVERSED:
            order = self._unit.order(str(event.data.get("ledger_id", "")))
            return order is not None and order.status in PAID_ORDERS
        if event.type is EventType.PAYMENT_CONFIRMED:
            reversal = self._reversal_before(event)
            return reversal is not None and self._was_spared(reversal, delivery.sink)
        return False

    def spared(self, delivery: Delivery) -> Delivery:
        """Return the delivery as done without an attempt."""
        self._spared.add((delivery.event_id, delivery.sink))
        self.count += 1
        return attrs.evolve(
            delivery, state="done", done_at=self._now, next_at=self._now, error=RESTORED, version=delivery.version + 1
        )

    def _reversal_before(self, event: Event) -> Event | None:
        told = self._unit.events(
            aggregate=event.aggregate, type_=str(EventType.PAYMENT_REVERSED), limit=_MOST_REVERSALS
        )
        same = [e for e in told if e.seq < event.seq and e.data.get("ledger_id") == event.data.get("ledger_id")]
        return max(same, key=lambda e: e.seq, default=None)

    def _was_spared(self, reversal: Event, sink: str) -> bool:
        if (reversal.event_id, sink) in self._spared:
            return True
        stored = self._unit.delivery(reversal.event_id, sink)
        return stored is not None and stored.error == RESTORED
