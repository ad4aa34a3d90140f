"""The logs bloom of a block header: 2048 bits, three for each address and topic in the block (yellow paper, 4.3.1)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from evmbilling._keccak import keccak
from evmbilling.adapters.evm.abi.events import TRANSFER
from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.reading.evidence import WatchSet

BLOOM_BYTES: Final = 256
_BITS_PER_VALUE: Final = 3


@lru_cache(maxsize=8192)
def bloom_mask(value: bytes) -> int:
    """Return the bits that an address (20 bytes) or topic (32 bytes) sets."""
    digest = keccak(value)
    mask = 0
    for at in range(0, 2 * _BITS_PER_VALUE, 2):
        mask |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2047)
    return mask


def admits(bloom: bytes, watch: WatchSet) -> bool:
    """Whether a block with this bloom may hold a watched log; never a wrong no for an honest bloom."""
    bits = int.from_bytes(bloom, "big")
    if _any_in(bits, _addresses(watch.addresses)) and _any_in(bits, watch.topics):
        return True
    if _any_in(bits, _addresses(watch.burning)) and _any_in(bits, [TRANSFER]) and _any_in(bits, [bytes(32)]):
        return True
    parties = [bytes(12) + party for party in _addresses(watch.parties)]
    return _any_in(bits, _addresses(watch.tokens)) and _any_in(bits, [TRANSFER]) and _any_in(bits, parties)


def _addresses(addresses: Iterable[str]) -> list[bytes]:
    return [address_bytes(address) for address in addresses]


def _any_in(bits: int, values: list[bytes] | tuple[bytes, ...]) -> bool:
    return any(bits & mask == mask for mask in map(bloom_mask, values))
