"""Counts for an operator, in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from evmbilling.adapters.memory.reads import Reads
from evmbilling.domain.messages.events import Event
from evmbilling.domain.reading.watching import Depth
from evmbilling.domain.selling.deposits import DepositState


class MemoryWatch(Reads):
    """Implements :class:`evmbilling.ports.watching.WatchReads`."""

    def subscriptions_by_plan(self) -> Mapping[tuple[str, str], int]:
        """Return how many subscriptions there are, by (plan slug, status)."""
        found = Counter((each.plan_slug, str(each.status)) for each in self._tables.subscriptions.values())
        return dict(sorted(found.items()))

    def orders_by_status(self) -> Mapping[str, int]:
        """Return how many orders there are, by status."""
        return dict(sorted(Counter(str(order.status) for order in self._tables.orders.values()).items()))

    def queue_depths(self) -> Mapping[str, Depth]:
        """Return how many items of the finance queue are open, by kind, and when the oldest was opened."""
        found: defaultdict[str, list[datetime]] = defaultdict(list)
        for item in self._tables.queue.values():
            if item.state == "open":
                found[item.kind].append(item.opened_at)
        return {kind: Depth(len(found[kind]), min(found[kind])) for kind in sorted(found)}

    def deposit_depths(self) -> Mapping[tuple[int, DepositState], Depth]:
        """Return how many deposit addresses hold something, by (chain id, state), and since when the oldest does."""
        found: defaultdict[tuple[int, DepositState], list[datetime]] = defaultdict(list)
        for deposit in self._tables.deposits.values():
            if deposit.seen_at is not None:
                found[deposit.chain_id, deposit.state].append(deposit.seen_at)
        return {place: Depth(len(found[place]), min(found[place])) for place in sorted(found)}

    def outbox_depth(self) -> Depth:
        """Return how many events were not handed out yet, and when the oldest was recorded."""
        return _depth(self._tables.unsent.values())

    def delivery_depths(self) -> Mapping[tuple[str, str], Depth]:
        """Return how many deliveries wait or are dead, by (sink, state), and when the oldest event was recorded."""
        found: defaultdict[tuple[str, str], list[Event]] = defaultdict(list)
        for delivery in self._tables.deliveries.values():
            event = self._tables.events.get(delivery.event_id)
            if delivery.state != "done" and event is not None:
                found[delivery.sink, delivery.state].append(event)
        return {lane: _depth(found[lane]) for lane in sorted(found)}


def _depth(events: Iterable[Event]) -> Depth:
    instants = [event.recorded_at for event in events]
    return Depth(len(instants), min(instants, default=None))
