"""Reads and claims of messages: hints that came in, events and deliveries that go out.

A claim locks rows until the unit ends and passes over what others hold. Order within an aggregate is kept by its first
row: whoever holds that one is the only one who may take those behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.ledger import whole_groups
from evmbilling.adapters.sqlalchemy.reading.session import Session, any_word, several
from evmbilling.adapters.sqlalchemy.rows import messages, money

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.messages.events import Event
    from evmbilling.domain.messages.messages import Delivery, InboxItem, WebhookEndpoint

RECEIVED = "state = 'received'"
"""The condition of the partial index on the inbox, in its own words."""


class MessageStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        inbox, endpoints = tables["webhook_inbox"], tables["webhook_endpoints"]
        self.hint = sa.select(inbox).where(
            inbox.c.source == bindparam("source"), inbox.c.event_id == bindparam("event_id")
        )
        self.claim_hints = (
            sa.select(inbox)
            .where(sa.text(RECEIVED), inbox.c.retry_at <= bindparam("now"))
            .order_by(inbox.c.received_at, inbox.c.source, inbox.c.event_id)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)
        )
        self.endpoints = sa.select(endpoints).order_by(endpoints.c.endpoint_id)
        self.endpoint = sa.select(endpoints).where(endpoints.c.endpoint_id == bindparam("endpoint_id"))
        self._build_events(tables["outbox"], tables["unsent_events"])
        self._build_deliveries(tables["deliveries"])

    def _build_events(self, outbox: sa.Table, unsent: sa.Table) -> None:
        self.event = sa.select(outbox).where(outbox.c.event_id == bindparam("event_id"))
        self.events_by_id = sa.select(outbox).where(outbox.c.event_id.in_(several("event_ids")))
        earlier = sa.alias(unsent)
        is_behind = sa.exists().where(earlier.c.aggregate == unsent.c.aggregate, earlier.c.seq < unsent.c.seq)
        self.first_events = (
            sa.select(unsent.c.aggregate)
            .where(~is_behind)
            .order_by(unsent.c.aggregate)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True, of=unsent)
        )
        self.unsent_events = (
            sa.select(outbox)
            .join(unsent, unsent.c.event_id == outbox.c.event_id)
            .where(unsent.c.aggregate.in_(several("aggregates")))
            .order_by(unsent.c.aggregate, unsent.c.seq)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True, of=unsent)
        )

    def _build_deliveries(self, deliveries: sa.Table) -> None:
        columns = deliveries.c
        self.delivery = sa.select(deliveries).where(
            columns.event_id == bindparam("event_id"), columns.sink == bindparam("sink")
        )
        self.deliveries = sa.select(deliveries).order_by(columns.event_id, columns.sink)
        self.of_sink = columns.sink == bindparam("sink")
        self.in_state = any_word(columns.state) == bindparam("state")
        self.page = self.deliveries.where(columns.event_id > bindparam("after")).limit(bindparam("most"))
        self.of_event = self.deliveries.where(columns.event_id == bindparam("event_id"))
        waiting = (
            sa.select(deliveries)
            .where(columns.sink == bindparam("sink"), columns.state == sa.literal_column("'waiting'"))
            .order_by(columns.aggregate, columns.seq)
            .limit(bindparam("most"))
            .with_for_update(skip_locked=True)
        )
        due = waiting.where(columns.next_at <= bindparam("now"))
        self.in_order = due.where(~_is_behind(deliveries))
        self.free_to_go = due.where(sa.or_(columns.attempts > 0, ~_is_behind(deliveries, untried=True)))
        self.untried = waiting.where(columns.attempts == 0, columns.aggregate.in_(several("aggregates")))


def _is_behind(deliveries: sa.Table, *, untried: bool = False) -> Any:
    """Whether an earlier delivery of the same aggregate to the same sink waits too."""
    earlier = sa.alias(deliveries)
    found = sa.exists().where(
        earlier.c.sink == deliveries.c.sink,
        earlier.c.aggregate == deliveries.c.aggregate,
        earlier.c.seq < deliveries.c.seq,
        earlier.c.state == sa.literal_column("'waiting'"),
    )
    return found.where(earlier.c.attempts == 0) if untried else found


class MessageReader(Session):
    """Implements ``InboxReads`` and ``DeliveryReads`` of :mod:`evmbilling.ports.messages`."""

    def inbox_item(self, source: str, event_id: str) -> InboxItem | None:
        """Return an accepted webhook."""
        row = self._one(self._statements.messages.hint, source=source, event_id=event_id)
        return None if row is None else messages.read_inbox_item(row)

    def claim_inbox(self, now: datetime, limit: int) -> Sequence[InboxItem]:
        """Claim ``received`` items whose ``retry_at`` is not after ``now``, oldest first; skips what others hold."""
        self._begin_writing()
        found = self._all(self._statements.messages.claim_hints, now=now, most=limit)
        return [messages.read_inbox_item(row) for row in found]

    def event(self, event_id: str) -> Event | None:
        """Return one event of the outbox."""
        row = self._one(self._statements.messages.event, event_id=event_id)
        return None if row is None else money.read_event(row)

    def events_by_id(self, event_ids: Collection[str]) -> Mapping[str, Event]:
        """Return the events of the outbox that are there, by id."""
        if not event_ids:
            return {}
        found = self._all(self._statements.messages.events_by_id, event_ids=sorted(event_ids))
        return {event.event_id: event for event in map(money.read_event, found)}

    def claim_events(self, limit: int) -> Sequence[Event]:
        """Claim events that have not been handed out, by (aggregate, seq); skips aggregates that others hold."""
        self._begin_writing()
        statements = self._statements.messages
        held = [row.aggregate for row in self._all(statements.first_events, most=limit)]
        if not held:
            return []
        found = self._all(statements.unsent_events, aggregates=held, most=limit)
        return [money.read_event(row) for row in found]

    def claim_deliveries(self, sink: str, now: datetime, limit: int, *, ordered: bool = False) -> Sequence[Delivery]:
        """Claim waiting deliveries of a sink that are due, by (aggregate, seq), in the order that they may go."""
        self._begin_writing()
        statements = self._statements.messages
        statement = statements.in_order if ordered else statements.free_to_go
        found = [messages.read_delivery(row) for row in self._all(statement, sink=sink, now=now, most=limit)]
        first = {delivery.aggregate: delivery.seq for delivery in found if delivery.attempts == 0}
        if ordered or not first:
            return found
        rows = self._all(statements.untried, sink=sink, aggregates=sorted(first), most=limit)
        behind = _while_due([messages.read_delivery(row) for row in rows], first, now)
        return sorted([*found, *behind], key=lambda delivery: (delivery.aggregate, delivery.seq))[:limit]

    def delivery(self, event_id: str, sink: str) -> Delivery | None:
        """Return a delivery."""
        row = self._one(self._statements.messages.delivery, event_id=event_id, sink=sink)
        return None if row is None else messages.read_delivery(row)

    def deliveries(
        self, *, sink: str | None = None, state: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Delivery]:
        """Return a page of deliveries by (event id, sink): as many whole events as fit, at least one."""
        statements = self._statements.messages
        wanted = {"sink": (statements.of_sink, sink), "state": (statements.in_state, state)}
        conditions = [condition for condition, value in wanted.values() if value is not None]
        values = {name: value for name, (_, value) in wanted.items() if value is not None}
        found = self._composed(statements.page.where(*conditions), after=after, most=limit + 1, **values)
        page = whole_groups(found, "event_id", limit)
        if found and not page:
            page = self._composed(statements.of_event.where(*conditions), event_id=found[0].event_id, **values)
        return [messages.read_delivery(row) for row in page]

    def endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return a webhook endpoint."""
        row = self._one(self._statements.messages.endpoint, endpoint_id=endpoint_id)
        return None if row is None else messages.read_endpoint(row)

    def endpoints(self) -> Sequence[WebhookEndpoint]:
        """Return all webhook endpoints by id."""
        return [messages.read_endpoint(row) for row in self._all(self._statements.messages.endpoints)]


def _while_due(untried: Sequence[Delivery], first: dict[str, int], now: datetime) -> list[Delivery]:
    """Return what follows the first untried delivery of each aggregate, up to the first that is not due."""
    stopped: set[str] = set()
    going = []
    for delivery in untried:
        if delivery.next_at > now:
            stopped.add(delivery.aggregate)
        elif delivery.aggregate not in stopped and delivery.seq > first[delivery.aggregate]:
            going.append(delivery)
    return going
