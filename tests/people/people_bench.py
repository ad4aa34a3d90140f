from __future__ import annotations

from datetime import UTC, datetime

from evmbilling.domain.people.siwe import personal_digest
from evmbilling.testing.accounts import DEV_ACCOUNTS
from evmbilling.testing.keys import _accounts

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
ALICE, BOB = DEV_ACCOUNTS[1:3]
DOMAIN, URI = "shop.example", "https://shop.example/account"


def sign_digest(key: str, digest: bytes) -> bytes:
    """Sign 32 bytes as a wallet does."""
    return bytes(_accounts().unsafe_sign_hash(digest, key).signature)


def sign_text(key: str, text: str) -> bytes:
    return sign_digest(key, personal_digest(text))
