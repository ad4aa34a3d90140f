"""Hints that came in and deliveries that go out, in memory. A unit holds whatever it claims: units serialise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import assert_never

import attrs

from evmbilling.adapters.memory.pages import whole_groups
from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.rows import refer
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.values import json_copy
from evmbilling.adapters.memory.versions import check_saved, replaced
from evmbilling.domain import decisions as d
from evmbilling.domain.messages.events import Event
from evmbilling.domain.messages.messages import Delivery, InboxItem, WebhookEndpoint
from evmbilling.errors import AlreadyExists

MessageDecision = d.StoreInboxItem | d.SaveEndpoint | d.OpenDeliveries | d.StoreDelivery


class MemoryMessages(Reads):
    """Implements :class:`evmbilling.ports.messages.InboxReads` and :class:`evmbilling.ports.messages.DeliveryReads`."""

    def inbox_item(self, source: str, event_id: str) -> InboxItem | None:
        """Return an accepted webhook."""
        return self._tables.inbox.get((source, event_id))

    def claim_inbox(self, now: datetime, limit: int) -> Sequence[InboxItem]:
        """Return ``received`` items whose ``retry_at`` is not after ``now``, oldest first."""
        self._must_write()
        due = [item for item in self._tables.inbox.find("state", "received") if item.retry_at <= now]
        return sorted(due, key=lambda item: (item.received_at, item.source, item.event_id))[:limit]

    def event(self, event_id: str) -> Event | None:
        """Return one event of the outbox."""
        event = self._tables.events.get(event_id)
        return None if event is None else _own(event)

    def events_by_id(self, event_ids: Collection[str]) -> Mapping[str, Event]:
        """Return the events of the outbox that are there, by id."""
        found = (self._tables.events.get(event_id) for event_id in event_ids)
        return {event.event_id: _own(event) for event in found if event is not None}

    def claim_events(self, limit: int) -> Sequence[Event]:
        """Return events that have not been handed out, by (aggregate, seq)."""
        self._must_write()
        waiting = sorted(self._tables.unsent.values(), key=lambda event: (event.aggregate, event.seq))
        return [_own(event) for event in waiting[:limit]]

    def claim_deliveries(self, sink: str, now: datetime, limit: int, *, ordered: bool = False) -> Sequence[Delivery]:
        """Return waiting deliveries of a sink that are due, by (aggregate, seq), in the order that they may go."""
        self._must_write()
        lanes: dict[str, list[Delivery]] = defaultdict(list)
        for delivery in self._tables.deliveries.find("waiting", sink):
            lanes[delivery.aggregate].append(delivery)
        pick = _next_in_order if ordered else _free_to_go
        due = (delivery for name in sorted(lanes) for delivery in pick(sorted(lanes[name], key=_seq), now))
        return list(due)[:limit]

    def delivery(self, event_id: str, sink: str) -> Delivery | None:
        """Return a delivery."""
        return self._tables.deliveries.get((event_id, sink))

    def deliveries(
        self, *, sink: str | None = None, state: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Delivery]:
        """Return a page of deliveries by (event id, sink): as many whole events as fit, at least one."""
        found = (
            delivery
            for delivery in self._tables.deliveries.values()
            if delivery.event_id > after and sink in (None, delivery.sink) and state in (None, delivery.state)
        )
        ordered = sorted(found, key=lambda delivery: (delivery.event_id, delivery.sink))
        return whole_groups(ordered, lambda delivery: delivery.event_id, limit)

    def endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return a webhook endpoint."""
        return self._tables.endpoints.get(endpoint_id)

    def endpoints(self) -> Sequence[WebhookEndpoint]:
        """Return all webhook endpoints by id."""
        return sorted(self._tables.endpoints.values(), key=lambda endpoint: endpoint.endpoint_id)


def _own(event: Event) -> Event:
    return attrs.evolve(event, data=json_copy("data", event.data))


def _seq(delivery: Delivery) -> int:
    return delivery.seq


def _next_in_order(lane: Sequence[Delivery], now: datetime) -> Iterable[Delivery]:
    """Return the first waiting delivery of an aggregate, when it is due."""
    return [delivery for delivery in lane[:1] if delivery.next_at <= now]


def _free_to_go(lane: Sequence[Delivery], now: datetime) -> Iterator[Delivery]:
    """Yield the due deliveries of an aggregate, up to the first untried one that is not due."""
    untried_wait = False
    for delivery in lane:
        due = delivery.next_at <= now
        if due and (delivery.attempts or not untried_wait):
            yield delivery
        untried_wait = untried_wait or (not due and not delivery.attempts)


def _store_inbox_item(tables: Tables, item: InboxItem) -> None:
    """Insert version 1 of a hint, or replace the version below."""
    stored = tables.inbox.get((item.source, item.event_id))
    if item.version > 1:
        replaced(stored, item)
    elif stored is not None:
        raise AlreadyExists("this webhook was accepted before", field="event_id")
    tables.inbox.put((item.source, item.event_id), item)


def _save_endpoint(tables: Tables, endpoint: WebhookEndpoint) -> None:
    """Insert version 1 of an endpoint, or replace the version below."""
    check_saved(tables.endpoints.get(endpoint.endpoint_id), endpoint)
    tables.endpoints.put(endpoint.endpoint_id, endpoint)


def _open_deliveries(tables: Tables, event_id: str, deliveries: Sequence[Delivery]) -> None:
    """Insert the deliveries of an event that are not there, and note that it has been handed out."""
    refer(tables.events, event_id, field="event_id")
    for delivery in deliveries:
        refer(tables.events, delivery.event_id, field="event_id")
        key = (delivery.event_id, delivery.sink)
        if tables.deliveries.get(key) is None:
            tables.deliveries.put(key, delivery)
    tables.unsent.drop(event_id)


def _store_delivery(tables: Tables, delivery: Delivery) -> None:
    """Replace a delivery; its place among the deliveries stays."""
    key = (delivery.event_id, delivery.sink)
    stored = replaced(tables.deliveries.get(key), delivery)
    tables.deliveries.put(key, attrs.evolve(delivery, aggregate=stored.aggregate, seq=stored.seq))


def write(tables: Tables, decision: MessageDecision) -> None:
    """Write one decision about messages."""
    match decision:
        case d.StoreInboxItem(item):
            _store_inbox_item(tables, item)
        case d.SaveEndpoint(endpoint):
            _save_endpoint(tables, endpoint)
        case d.OpenDeliveries(event_id, deliveries):
            _open_deliveries(tables, event_id, deliveries)
        case d.StoreDelivery(delivery):
            _store_delivery(tables, delivery)
        case _:
            assert_never(decision)
