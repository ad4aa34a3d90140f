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
from evmbilling.ports.nodes import TimeWitnesses
from evmbilling.ports.provider import Provider

_log = logging.getLogger("evmbilling.reader")
AHEAD: Final = timedelta(hours=1)
"""So far ahead of our clock and of the database's a block may be by the word of one node."""


def check_times(
    ports: Ports, network: Network, provider: Provider, headers: Sequence[BlockHeader], logs: Sequence[ChainLog]
) -> None:
    """Check the latest time that is told by these headers and logs.

    Test networks set their time, and so does whoever simulates the clock: nothing is compared there.

    Raises:
        ChainMismatch: it is far ahead of our clocks, and no second node tells the same.

    """
    if network.testnet or ports.clock_tolerance is None:
        return
    newest = max([*(header.timestamp for header in headers), *_times(logs)], default=None)
    if newest is None or newest <= ports.clock.now() + AHEAD or newest <= ports.storage.now() + AHEAD:
        return
    number, block_hash = _block_of(newest, headers, logs)
    if isinstance(provider, TimeWitnesses) and provider.agree_on_time(network, number, block_hash, newest):
        return
    times = ports.sampler.times(f"block time {network.chain_id}")
    if times is not None:
        facts = {"network": network.name, "block": number, "block_time": newest.isoformat(), "times": times}
        _log.error("a block is far ahead of our clocks, and no second node tells its time", extra=facts)
    raise ChainMismatch(
        f"block {number} is more than an hour ahead of our clock and the database's ({newest.isoformat()}), "
        "and no second node of the network tells the same",
        chain_id=network.chain_id,
    )


def _times(logs: Sequence[ChainLog]) -> Sequence[datetime]:
    return logs.block_time if isinstance(logs, LogColumns) else [log.block_time for log in logs]


def _block_of(newest: datetime, headers: Sequence[BlockHeader], logs: Sequence[ChainLog]) -> tuple[int, bytes]:
    found = next(((header.number, header.hash) for header in headers if header.timestamp == newest), None)
    return found or next((log.block_number, log.block_hash) for log in logs if log.block_time == newest)
