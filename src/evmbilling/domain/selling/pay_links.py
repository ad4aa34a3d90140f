"""Pay links: a secret of its own by which somebody can see and pay one order, whoever they are."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from attrs import field, frozen

ROTATION = timedelta(days=7)
"""How long older links of an order go on working after a new one was made: mails lie in boxes."""
AFTERWARDS = timedelta(days=7)
"""How long a link goes on showing what became of its order after that could be paid."""


@frozen(kw_only=True)
class PayLink:
    """A link to an order. Its token is nowhere stored; 128 random bits or more, so its hash needs no salt.

    Attributes:
        token_hash: SHA-256 of the token.
        expires_at: half-open; some days after the order's deadline: whoever paid looks again.

    """

    token_hash: bytes
    ledger_id: str
    issued_at: datetime
    expires_at: datetime


@frozen
class OpenPayLink:
    """Decision: insert a pay link; the order's other links end at ``others_until`` at the latest."""

    link: PayLink
    others_until: datetime


@frozen(kw_only=True)
class IssuedLink:
    """A fresh link, with the one copy of its token."""

    token: str = field(repr=False)
    ledger_id: str
    expires_at: datetime


def hash_token(token: str) -> bytes:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).digest()
