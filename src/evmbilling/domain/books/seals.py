"""Tamper evidence: append-only rows are sealed after the commit by a chain of HMACs.

The key is outside the database: who can write rows cannot make their seals.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from attrs import field, frozen

_KEY_ID_BYTES = 4
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
        key_id: which key made it, by :func:`seal_key_id`; None for links from before that was kept.

    """

    number: int
    previous: bytes
    mac: bytes
    rows: int
    sealed_at: datetime
    key_id: str | None = None


def seal_key_id(key: bytes) -> str:
    """Return what names a key and gives nothing of it away: 8 hex digits of an HMAC under it."""
    return hmac.digest(key, b"seal key id", "sha256")[:_KEY_ID_BYTES].hex()


def may_seal(last: Seal | None, own: str, former: Collection[str], before: Iterable[str | None]) -> bool:
    """Whether a chain goes on with a key: with the one that made its newest link, or a new one after that.

    A link of a former key after one of the next cannot be told from one of whoever has got hold of it. A key that does
    not know the newest link's may be a former one: only who has that one among its former keys follows it.

    Args:
        last: the newest link. own: id of the key that is to seal.
        former: ids of the keys that it follows. before: ids of the links of the chain, read where it is the next key.

    """
    if last is None or last.key_id in {None, own}:
        return True
    return last.key_id in former and own not in before


def seal_mac(key: bytes, number: int, previous: bytes, digests: Sequence[bytes]) -> bytes:
    """Return the MAC of a link: HMAC-SHA256 over number, the previous MAC and the sorted digests."""
    message = number.to_bytes(8) + previous + b"".join(sorted(digests))
    return hmac.digest(key, message, "sha256")
