"""Times of blocks that no clock of ours confirms: orders would expire by them, and payments would be late.

A time far ahead is believed when a second node tells it. No clock of ours refuses it alone: one that is wrong would
stop a network that is right.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog
from evmbilling.domain.reading.log_columns import LogColumns
from evmbilling.engine.context import Ports
from evmbilling.errors import ChainMismatch
from evmbilling.ports.nodes import TimeVerdict, TimeWitnesses
from evmbilling.ports.provider import Provider

_log = logging.getLogger("evmbilling.reader")
AHEAD: Final = timedelta(hours=1)
"""So far ahead of our clock and of the database's a block may be by the word of one node, where nobody else can say."""
DOUBTED: Final = timedelta(minutes=2)
"""So far ahead, a second node is asked: less is the skew of clocks."""


def check_times(
    ports: Ports,
    network: Network,
    provider: Provider,
    headers: Sequence[BlockHeader],
    logs: Sequence[ChainLog],
    *,
    changed: Sequence[ChainLog] = (),
) -> None:
    """Check the times that are told by these headers and logs, and those of ``changed`` logs against other nodes.

    Doubted is the latest of them, where it is ahead of our clocks, or later than the last block that it comes with.
    Test networks set their time, and so does whoever simulates the clock: nothing is compared there.

    Raises:
        ChainMismatch: another node contradicts one, or it is far ahead of our clocks and no second node tells the same.

    """
    if network.testnet or ports.clock_tolerance is None:
        return
    for number, block_hash, told in {(log.block_number, log.block_hash, log.block_time) for log in changed}:
        if _asked(network, provider, number, block_hash, told) == "contradicted":
            raise _mismatch(network, number, told, "differs from what another node says, and from what is stored")
    newest = max([*(header.timestamp for header in headers), *_times(logs)], default=None)
    if newest is None or not (_is_ahead(ports, newest, DOUBTED) or _is_after_the_last(newest, headers)):
        return
    number, block_hash = _block_of(newest, headers, logs)
    verdict = _asked(network, provider, number, block_hash, newest)
    if verdict == "contradicted" or (verdict == "alone" and _is_ahead(ports, newest, AHEAD)):
        _tell(ports, network, number, newest)
        raise _mismatch(network, number, newest, "is one that no second node of the network tells")


def _is_ahead(ports: Ports, time: datetime, by: timedelta) -> bool:
    """Whether a time is ahead of our clock and of the database's by so much."""
    return time > ports.clock.now() + by and time > ports.storage.now() + by


def _is_after_the_last(time: datetime, headers: Sequence[BlockHeader]) -> bool:
    return bool(headers) and time > max(headers, key=lambda header: header.number).timestamp


def _asked(network: Network, provider: Provider, number: int, block_hash: bytes, told: datetime) -> TimeVerdict:
    return provider.witness_time(network, number, block_hash, told) if isinstance(provider, TimeWitnesses) else "alone"


def _tell(ports: Ports, network: Network, number: int, told: datetime) -> None:
    times = ports.sampler.times(f"block time {network.chain_id}")
    if times is not None:
        facts = {"network": network.name, "block": number, "block_time": told.isoformat(), "times": times}
        _log.error("the time of a block cannot be believed, and no second node tells it", extra=facts)


def _mismatch(network: Network, number: int, told: datetime, why: str) -> ChainMismatch:
    return ChainMismatch(f"the time of block {number}, {told.isoformat()}, {why}", chain_id=network.chain_id)


def _times(logs: Sequence[ChainLog]) -> Sequence[datetime]:
    return logs.block_time if isinstance(logs, LogColumns) else [log.block_time for log in logs]


def _block_of(newest: datetime, headers: Sequence[BlockHeader], logs: Sequence[ChainLog]) -> tuple[int, bytes]:
    found = next(((header.number, header.hash) for header in headers if header.timestamp == newest), None)
    return found or next((log.block_number, log.block_hash) for log in logs if log.block_time == newest)
