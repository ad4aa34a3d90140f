"""Reads and claims of messages: hints that came in, deliveries that go out, wallet challenges, usage."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from evmbilling.domain.messages.events import Event
from evmbilling.domain.messages.messages import Delivery, InboxItem, WebhookEndpoint
from evmbilling.domain.people.usage import WalletChallenge, Window


class InboxReads(Protocol):
    """Hints that came in."""

    def inbox_item(self, source: str, event_id: str) -> InboxItem | None:
        """Return an accepted webhook."""
        ...

    def claim_inbox(self, now: datetime, limit: int) -> Sequence[InboxItem]:
        """Claim ``received`` items whose ``retry_at`` is not after ``now``, until the unit ends; oldest first."""
        ...


class DeliveryReads(Protocol):
    """Events on their way out."""

    def event(self, event_id: str) -> Event | None:
        """Return one event of the outbox."""
        ...

    def events_by_id(self, event_ids: Collection[str]) -> Mapping[str, Event]:
        """Return the events of the outbox that are there, by id."""
        ...

    def claim_events(self, limit: int) -> Sequence[Event]:
        """Claim events that have not been handed out, until the unit ends, by (aggregate, seq); never by id order.

        An event of an aggregate whose earlier event another unit holds is passed over.
        """
        ...

    def claim_deliveries(self, sink: str, now: datetime, limit: int, *, ordered: bool = False) -> Sequence[Delivery]:
        """Claim waiting deliveries of a sink that are due, until the unit ends, by (aggregate, seq).

        First attempts are given in ``seq`` order within an aggregate: one that was never tried is passed over while an
        earlier one of its aggregate was never tried either and is not given with it. With ``ordered`` an aggregate
        waits as long as an earlier delivery is not done or dead.
        """
        ...

    def delivery(self, event_id: str, sink: str) -> Delivery | None:
        """Return a delivery."""
        ...

    def deliveries(
        self, *, sink: str | None = None, state: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Delivery]:
        """Return a page of deliveries by (event id, sink), of one sink or state where named.

        Whole events only: as many as fit into ``limit`` rows, at least one.
        """
        ...

    def endpoint(self, endpoint_id: str) -> WebhookEndpoint | None:
        """Return a webhook endpoint."""
        ...

    def endpoints(self) -> Sequence[WebhookEndpoint]:
        """Return all webhook endpoints by id."""
        ...


class UsageOperations(Protocol):
    """Counters that only their own statement changes: each is one conditional write."""

    def used(self, window: Window) -> int:
        """Return what was used in a window."""
        ...

    def consume(self, window: Window, amount: int) -> int | None:
        """Add to a window if the sum stays at or below ``window.allowed``; return the sum, or None.

        Raises:
            InputError: the amount is negative.

        """
        ...

    def use_challenge(self, nonce: str, now: datetime) -> WalletChallenge | None:
        """Mark an unused, unexpired challenge as used and return it; None when there is none: one caller gets it."""
        ...
