"""Comparing two big tables of sums in little memory.

Each key has a secret random weight. The weighted amounts of the left side minus those of the right add up to 0 in each
of a fixed number of buckets exactly when both sides agree on every key (but for a chance of 2**-100). Only the keys of
buckets that do not are then read again and compared one by one, a few buckets at a time. The idea is that of
fingerprints of multisets (Wegman and Carter 1981).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

BUCKETS = 4096
TOGETHER = 256
"""How many buckets are read again at once: a sixteenth of all keys is held in memory at most."""
_PRIME = 2**127 - 1

Row: TypeAlias = tuple[str, int, int]
"""A key, what the left side says of it, and what the right side does; rows of one key add up."""


def differing(stream: Callable[[], Iterable[Row]], salt: bytes) -> Iterator[Row]:
    """Yield the keys on which left and right do not agree, with both sums, in order of their buckets.

    Args:
        stream: gives all rows; it is called again, and must give the same, when something does not agree.
        salt: up to 64 secret random bytes.

    """
    sums = [0] * BUCKETS
    for key, left, right in stream():
        if left != right:
            bucket, weight = _place(key, salt)
            sums[bucket] = (sums[bucket] + weight * (left - right)) % _PRIME
    suspects = [bucket for bucket, total in enumerate(sums) if total]
    for start in range(0, len(suspects), TOGETHER):
        yield from _compare(stream(), salt, frozenset(suspects[start : start + TOGETHER]))


def _compare(rows: Iterable[Row], salt: bytes, suspects: frozenset[int]) -> Iterator[Row]:
    exact: dict[str, tuple[int, int]] = {}
    for key, left, right in rows:
        if _place(key, salt)[0] in suspects:
            held = exact.get(key, (0, 0))
            exact[key] = (held[0] + left, held[1] + right)
    for key in sorted(exact):
        left, right = exact[key]
        if left != right:
            yield key, left, right


def _place(key: str, salt: bytes) -> tuple[int, int]:
    number = int.from_bytes(hashlib.blake2b(key.encode(), key=salt, digest_size=16).digest())
    return number % BUCKETS, number // BUCKETS + 1
