"""Tamper evidence: append-only rows are sealed after the commit by a chain of HMACs.

The key is outside the database: who can write rows cannot make their seals.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from attrs import field, frozen

FIRST_PREVIOUS = bytes(32)
"""What the first link names as the one before."""


@frozen(kw_only=True)
class SealedRow:
    """One append-only row as storage has it.

    Attributes:
        table: its name without prefix. key: its primary key as text.
        content: canonical bytes of every column.

    """

    table: str
    key: str
    content: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """SHA-256 over table, key and content."""
        name = f"{self.table}\0{self.key}\0".encode()
        return hashlib.sha256(name + self.content).digest()


@frozen(kw_only=True)
class SealItem:
    """That a row was sealed, with the digest that it had."""

    table: str
    key: str
    digest: bytes
    seal: int


@frozen(kw_only=True)
class Seal:
    """One link of the chain: an HMAC over the link before and the digests of the rows that it covers.

    Attributes:
        number: from 1, without gaps.
        previous: the MAC of the link before; 32 zero bytes for the first.
        rows: how many rows it covers. A link that covers none says that everything before it was verified.

    """

    number: int
    previous: bytes
    mac: bytes
    rows: int
    sealed_at: datetime


def seal_mac(key: bytes, number: int, previous: bytes, digests: Sequence[bytes]) -> bytes:
    """Return the MAC of a link: HMAC-SHA256 over number, the previous MAC and the sorted digests."""
    message = number.to_bytes(8) + previous + b"".join(sorted(digests))
    return hmac.digest(key, message, "sha256")
