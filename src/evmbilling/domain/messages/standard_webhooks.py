"""Signing by Standard Webhooks 1.0, scheme v1: HMAC-SHA256 over ``id.timestamp.body``."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from evmbilling.errors import InputError

PREFIX = "whsec_"
SHORTEST_KEY = 24
LONGEST_KEY = 64


def make_secret(entropy: Sequence[str]) -> str:
    """Return a fresh secret, ``whsec_`` and base64 of 32 bytes, out of independent random texts."""
    key = hashlib.sha256("\n".join(entropy).encode()).digest()
    return PREFIX + base64.b64encode(key).decode()


def secret_key(secret: str) -> bytes:
    """Return the key of a secret.

    Raises:
        InputError: not ``whsec_`` and base64 of 24 to 64 bytes; the secret is not repeated.

    """
    key, text = b"", secret if isinstance(secret, str) else ""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise InputError(
            f"a webhook secret is {PREFIX} and base64 of {SHORTEST_KEY} to {LONGEST_KEY} bytes", field="secret"
        )
    return key


def sign(secrets: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``: one item for each live secret, separated by spaces."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(secret_key(secret), signed, hashlib.sha256) for secret in secrets)
    return " ".join("v1," + base64.b64encode(digest).decode() for digest in digests)
