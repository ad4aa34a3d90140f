"""Messages in and out: hints from relays, deliveries to sinks, endpoints of webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from attrs import field, frozen

from evmbilling.domain.secrets import SecretRef

InboxState = Literal["received", "done", "parked", "dead"]
DeliveryState = Literal["waiting", "done", "dead"]


@frozen(kw_only=True)
class InboxItem:
    """A webhook that was accepted: a hint to look at a transaction; unique by (source, event_id).

    Attributes:
        source: the slug of the contract whose relay sent it, or ``relay``; ``slug@chain_id`` where the relay of the
            same slug on another network had used the id before.
        digest: SHA-256 of the raw body; another body under the same id is a conflict.
        body: the raw bytes; erased by retention.
        tx_hash: what it points at; 32 bytes. chain_id: where.

    """

    source: str
    event_id: str
    digest: bytes
    body: bytes = field(repr=False)
    chain_id: int
    tx_hash: bytes
    received_at: datetime
    state: InboxState = "received"
    attempts: int = 0
    retry_at: datetime
    reason: str | None = None
    version: int = 1


@frozen(kw_only=True)
class WebhookEndpoint:
    """Where events are sent by Standard Webhooks; managed by administrators.

    Attributes:
        url: https, or an exact host and port excepted on test networks; not shown, its path or query may be a key.
        secrets: the newest first; all of them sign while a rotation lasts.
        events: names that are sent; empty for all.
        ordered: a failed delivery holds back the next ones of its aggregate.
        disabled_at: set by an administrator or by an answer of 410.

    """

    endpoint_id: str
    url: str = field(repr=False)
    secrets: tuple[SecretRef, ...] = field(repr=False)
    events: tuple[str, ...] = ()
    ordered: bool = False
    created_at: datetime
    disabled_at: datetime | None = None
    disabled_reason: str | None = None
    version: int = 1


@frozen(kw_only=True)
class Delivery:
    """One event on its way to one sink; unique by (event, sink).

    Attributes:
        sink: ``notifier:<name>``, ``webhook:<endpoint id>``, ``quota:<name>``.
        aggregate, seq: of the event, for the order of first attempts.
        attempts: how often it was tried. next_at: when it is tried again.
        status_code, error: of the last attempt; never a secret or a body.

    """

    event_id: str
    sink: str
    aggregate: str
    seq: int
    state: DeliveryState = "waiting"
    attempts: int = 0
    next_at: datetime
    done_at: datetime | None = None
    status_code: int | None = None
    error: str | None = None
    version: int = 1


@frozen(kw_only=True)
class Outgoing:
    """An event as it goes out: a CloudEvents 1.0 envelope as JSON values."""

    event_id: str
    body: dict[str, Any]
