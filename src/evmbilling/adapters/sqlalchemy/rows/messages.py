"""Rows of messages in and out, and of wallet challenges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.domain.messages.messages import Delivery, InboxItem, WebhookEndpoint
from evmbilling.domain.people.usage import WalletChallenge, Window
from evmbilling.domain.secrets import parse_secret_ref

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.rows.catalogue import Row, Values
    from evmbilling.domain.messages.events import Event


def inbox_values(item: InboxItem) -> Values:
    """Write an accepted webhook."""
    return {
        "source": item.source,
        "event_id": item.event_id,
        "digest": item.digest,
        "body": item.body,
        "chain_id": item.chain_id,
        "tx_hash": item.tx_hash,
        "received_at": item.received_at,
        "state": item.state,
        "attempts": item.attempts,
        "retry_at": item.retry_at,
        "reason": item.reason,
        "version": item.version,
    }


def read_inbox_item(row: Row) -> InboxItem:
    """Read an accepted webhook."""
    return InboxItem(
        source=row.source,
        event_id=row.event_id,
        digest=row.digest,
        body=row.body,
        chain_id=row.chain_id,
        tx_hash=row.tx_hash,
        received_at=row.received_at,
        state=row.state,
        attempts=row.attempts,
        retry_at=row.retry_at,
        reason=row.reason,
        version=row.version,
    )


def endpoint_values(endpoint: WebhookEndpoint) -> Values:
    """Write a webhook endpoint; its secrets as references or ciphertext."""
    return {
        "endpoint_id": endpoint.endpoint_id,
        "url": endpoint.url,
        "secrets": [secret.stored for secret in endpoint.secrets],
        "events": list(endpoint.events),
        "ordered": endpoint.ordered,
        "created_at": endpoint.created_at,
        "disabled_at": endpoint.disabled_at,
        "disabled_reason": endpoint.disabled_reason,
        "version": endpoint.version,
    }


def read_endpoint(row: Row) -> WebhookEndpoint:
    """Read a webhook endpoint."""
    return WebhookEndpoint(
        endpoint_id=row.endpoint_id,
        url=row.url,
        secrets=tuple(parse_secret_ref(secret, field="secrets") for secret in row.secrets),
        events=tuple(row.events),
        ordered=row.ordered,
        created_at=row.created_at,
        disabled_at=row.disabled_at,
        disabled_reason=row.disabled_reason,
        version=row.version,
    )


def unsent_values(event: Event) -> Values:
    """Write that an event has not been handed out."""
    return {"event_id": event.event_id, "aggregate": event.aggregate, "seq": event.seq}


def delivery_values(delivery: Delivery) -> Values:
    """Write a delivery."""
    return {
        "event_id": delivery.event_id,
        "sink": delivery.sink,
        "aggregate": delivery.aggregate,
        "seq": delivery.seq,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "next_at": delivery.next_at,
        "done_at": delivery.done_at,
        "status_code": delivery.status_code,
        "error": delivery.error,
        "version": delivery.version,
    }


def read_delivery(row: Row) -> Delivery:
    """Read a delivery."""
    return Delivery(
        event_id=row.event_id,
        sink=row.sink,
        aggregate=row.aggregate,
        seq=row.seq,
        state=row.state,
        attempts=row.attempts,
        next_at=row.next_at,
        done_at=row.done_at,
        status_code=row.status_code,
        error=row.error,
        version=row.version,
    )


def window_key(window: Window) -> Values:
    """Write which window is counted in."""
    return {
        "user_id": window.user_id,
        "limit_name": window.limit,
        "source_id": window.source_id,
        "starts_at": window.starts_at,
    }


def challenge_values(challenge: WalletChallenge) -> Values:
    """Write a wallet challenge."""
    return {
        "nonce": challenge.nonce,
        "user_id": challenge.user_id,
        "address": challenge.address,
        "chain_id": challenge.chain_id,
        "message": challenge.message,
        "purpose": challenge.purpose,
        "issued_at": challenge.issued_at,
        "expires_at": challenge.expires_at,
        "used_at": challenge.used_at,
    }


def read_challenge(row: Row) -> WalletChallenge:
    """Read a wallet challenge."""
    return WalletChallenge(
        nonce=row.nonce,
        user_id=row.user_id,
        address=row.address,
        chain_id=row.chain_id,
        message=row.message,
        purpose=row.purpose,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )
