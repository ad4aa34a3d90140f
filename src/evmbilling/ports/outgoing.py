"""Sending one signed message to one webhook endpoint."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from attrs import field, frozen


@frozen(kw_only=True)
class WebhookCall:
    """One message, ready to be signed and sent.

    Attributes:
        url: of the endpoint; a secret, because its path or query often is a key.
        secrets: all live ones, the newest first.
        message_id: the event's id; the receiver's idempotency key.
        timestamp: of this attempt, Unix seconds.
        body: the exact bytes.
        excepted: exact ``host:port`` that may be private; empty outside test networks.

    """

    url: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    message_id: str
    timestamp: int
    body: bytes = field(repr=False)
    excepted: frozenset[str] = frozenset()


@frozen(kw_only=True)
class WebhookAnswer:
    """What the endpoint answered.

    Attributes:
        status: of HTTP; None when there was no answer.
        retry_after: from the header, where there was one that can be read.
        error: a short word when there was no answer or none that counts; never an address.

    """

    status: int | None
    retry_after: timedelta | None = None
    error: str | None = None


class WebhookSender(Protocol):
    """Sends webhooks; safe for threads."""

    def send(self, call: WebhookCall) -> WebhookAnswer:
        """Send once: no redirect is followed, nothing is repeated; every failure of the network is an answer."""
        ...
