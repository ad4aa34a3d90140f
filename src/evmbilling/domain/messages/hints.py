"""Webhooks that come in (Standard Webhooks 1.0): signed hints to look at a transaction. A hint never moves money."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import field, frozen

from evmbilling.domain.strict_json import parse_strict
from evmbilling.errors import WebhookRejected

MOST_BYTES = 256 * 1024
MOST_SIGNATURES = 8
TOLERANCE = timedelta(minutes=5)
DEEPEST = 16
RETRIES = tuple(timedelta(seconds=s) for s in (10, 30, 60, 300, 900, 3600, 10_800, 21_600, 43_200, 86_400))
"""How long a hint waits for its transaction before it is looked for again; after the last it is dead."""

_SECRET_BYTES = range(24, 65)
_EVENT_ID = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)


@frozen(kw_only=True)
class Hint:
    """What an accepted webhook says: look at this transaction.

    Attributes:
        event_id: the sender's ``webhook-id``; the idempotency key.
        digest: SHA-256 of the raw body.

    """

    event_id: str
    chain_id: int
    tx_hash: bytes
    digest: bytes
    body: bytes = field(repr=False)


def parse_secrets(text: str) -> tuple[bytes, ...]:
    """Read signing secrets, separated by spaces, the newest first: ``whsec_`` and base64 of 24 to 64 bytes.

    Raises:
        ValueError: one of them is no such secret; the message does not repeat it.

    """
    keys = tuple(_parse_secret(word) for word in text.split())
    if not keys:
        raise ValueError("a webhook secret is whsec_ and base64 of 24 to 64 bytes")
    return keys


def read_hint(
    body: bytes, headers: Mapping[str, str] | Iterable[tuple[str, str]], keys: Sequence[bytes], now: datetime
) -> Hint:
    """Check a webhook and return what it points at. The signature is over the raw bytes, before anything is parsed.

    Args:
        body: the raw bytes. headers: as received; names in any case, each of the three at most once.
        keys: secrets of the source; any of them may have signed.
        now: for the tolerance, both ways.

    Raises:
        WebhookRejected: with its reason.

    """
    if not isinstance(body, bytes):
        raise WebhookRejected("bad_body", "the body is handed over as raw bytes")
    if len(body) > MOST_BYTES:
        raise WebhookRejected("too_large", f"a webhook has at most {MOST_BYTES} bytes")
    try:
        event_id, timestamp, signatures = _headers(headers)
    except (TypeError, ValueError):
        raise WebhookRejected("bad_headers", "headers are a mapping or pairs of text") from None
    _check_signature(event_id, timestamp, signatures, body, keys)
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise WebhookRejected("bad_timestamp", "the webhook is too old, or from the future")
    chain_id, tx_hash = _read_body(body)
    return Hint(event_id=event_id, chain_id=chain_id, tx_hash=tx_hash, digest=hashlib.sha256(body).digest(), body=body)


def sign_webhook(key: bytes, event_id: str, timestamp: str, body: bytes) -> str:
    """Return a v1 signature: HMAC-SHA256 over id, timestamp and body, joined by dots."""
    mac = hmac.digest(key, event_id.encode() + b"." + timestamp.encode() + b"." + body, "sha256")
    return "v1," + base64.b64encode(mac).decode()


def _parse_secret(word: str) -> bytes:
    try:
        key = base64.b64decode(word.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) not in _SECRET_BYTES:
        raise ValueError("a webhook secret is whsec_ and base64 of 24 to 64 bytes")
    return key


def _headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> tuple[str, str, list[str]]:
    found: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        lowered = str(name).lower()
        if lowered in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            if lowered in found or not isinstance(value, str):
                raise WebhookRejected("bad_headers", f"{lowered} is there more than once")
            found[lowered] = value
    event_id, timestamp = found.get("webhook-id", ""), found.get("webhook-timestamp", "")
    if not _EVENT_ID.fullmatch(event_id) or not _SECONDS.fullmatch(timestamp):
        raise WebhookRejected("bad_headers", "webhook-id and webhook-timestamp are needed")
    signatures = found.get("webhook-signature", "").split(" ")
    if len(signatures) > MOST_SIGNATURES:
        raise WebhookRejected("bad_signature", f"at most {MOST_SIGNATURES} signatures are looked at")
    return event_id, timestamp, signatures


def _check_signature(
    event_id: str, timestamp: str, signatures: Sequence[str], body: bytes, keys: Sequence[bytes]
) -> None:
    accepted = False
    for key in keys:
        expected = sign_webhook(key, event_id, timestamp, body).encode()
        for signature in signatures:
            # Every pair is compared, in constant time: nothing is learned from how long it takes.
            accepted |= hmac.compare_digest(expected, signature.encode(errors="replace"))
    if not accepted:
        raise WebhookRejected("bad_signature", "no signature of this webhook is the source's")


def _read_body(body: bytes) -> tuple[int, bytes]:
    try:
        parsed = parse_strict(body.decode(), deepest=DEEPEST)
    except (ValueError, RecursionError):
        raise WebhookRejected("bad_body", "the body is no JSON in UTF-8") from None
    if not isinstance(parsed, dict):
        raise WebhookRejected("bad_body", "the body is a JSON object")
    chain_id, tx_hash = parsed.get("chain_id"), parsed.get("tx_hash")
    if type(chain_id) is not int or not 0 < chain_id < 2**63:
        raise WebhookRejected("bad_body", "chain_id is a positive whole number")
    if not isinstance(tx_hash, str) or not _HASH.fullmatch(tx_hash):
        raise WebhookRejected("bad_body", "tx_hash is 0x and 64 hex digits")
    return chain_id, bytes.fromhex(tx_hash[2:])
