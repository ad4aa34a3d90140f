"""Which logs are looked for."""

from __future__ import annotations

from evmbilling.domain.addresses import address_bytes
from evmbilling.domain.reading.evidence import ChainLog, WatchSet

TRANSFER = bytes.fromhex("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef")
ERC20, ERC721 = 3, 4
"""How many topics a transfer has."""


def watches(watch: WatchSet, log: ChainLog) -> bool:
    """Say whether a log is one of those that a watch set looks for."""
    if not log.topics:
        return False
    if log.address in watch.addresses and log.topics[0] in watch.topics:
        return True
    if log.topics[0] != TRANSFER:
        return False
    if len(log.topics) == ERC721:
        return log.address in watch.burning and log.topics[2] == bytes(32)
    parties = {bytes(12) + address_bytes(party) for party in watch.parties}
    return log.address in watch.tokens and len(log.topics) == ERC20 and not parties.isdisjoint(log.topics[1:])
