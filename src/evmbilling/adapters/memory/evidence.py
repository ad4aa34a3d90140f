"""What the chain said, in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import assert_never

import attrs

from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.tables import StoredHeader, StoredLog, Tables
from evmbilling.domain import decisions as d
from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.reading.evidence import (
    CLAIMED_BY_HEIGHT,
    BlockHeader,
    ChainLog,
    Cursor,
    IntakeItem,
    WaitKind,
    claim_share,
)
from evmbilling.errors import LeaseLost, NotFound

_BESIDE_FRESH: tuple[WaitKind, ...] = ("time", *CLAIMED_BY_HEIGHT)
EvidenceDecision = d.RecordEvidence | d.Rewind | d.HaltChain | d.StoreCursor | d.StoreItem


class MemoryEvidence(Reads):
    """Implements :class:`evmbilling.ports.storage.EvidenceReads`."""

    def cursor(self, chain_id: int) -> Cursor | None:
        """Return how far a chain has been read."""
        return self._tables.cursors.get(chain_id)

    def cursors(self) -> Sequence[Cursor]:
        """Return all cursors by chain id."""
        return sorted(self._tables.cursors.values(), key=lambda c: c.chain_id)

    def window(self, chain_id: int, *, above: int = -1) -> Sequence[BlockHeader]:
        """Return the stored headers with a number greater than ``above``, in order."""
        found = [stored.header for stored in self._tables.window.find("chain", chain_id)]
        return sorted((header for header in found if header.number > above), key=lambda h: h.number)

    def logs_of(self, identities: Collection[CreditIdentity]) -> Mapping[CreditIdentity, ChainLog]:
        """Return the canonical log of each movement."""
        found = {identity: self._tables.logs.find("identity", identity) for identity in sorted(set(identities))}
        return {identity: max(map(_log, logs), key=_place) for identity, logs in found.items() if logs}

    def logs_between(self, chain_id: int, first: int, last: int) -> Sequence[ChainLog]:
        """Return the canonical logs of the blocks ``first`` to ``last`` in chain order."""
        logs = map(_log, self._tables.logs.find("chain", chain_id))
        return sorted((log for log in logs if first <= log.block_number <= last), key=_place)

    def log_blocks(self, chain_id: int, *, below: int, limit: int = 500) -> Sequence[tuple[int, bytes]]:
        """Return number and hash of the blocks below a height that hold canonical logs, the highest first."""
        logs = [stored.log for stored in self._tables.logs.find("chain", chain_id) if stored.canonical]
        found = {(log.block_number, log.block_hash) for log in logs if log.block_number < below}
        return sorted(found, reverse=True)[:limit]

    def claim_items(self, chain_id: int, cursor: Cursor, now: datetime, limit: int) -> Sequence[IntakeItem]:
        """Return intake items of a chain that are due; this unit holds them all until it ends."""
        self._must_write()
        due = {
            wait: sorted(filter(is_due, self._tables.items.find("wait", (chain_id, wait))), key=_turn)
            for wait, is_due in _due_rules(cursor.heights, now).items()
        }
        fresh = due["now"][:limit]
        others = [item for wait in _BESIDE_FRESH for item in due[wait]][: claim_share(len(fresh), limit)]
        return sorted([*fresh[: limit - len(others)], *others], key=lambda item: item.identity)

    def waiting_below(self, chain_id: int, block: int) -> int:
        """Count items of a chain that wait ``now`` and whose canonical log is at or below a block."""
        waiting: WaitKind = "now"
        logs = self.logs_of([item.identity for item in self._tables.items.find("wait", (chain_id, waiting))])
        return sum(log.block_number <= block for log in logs.values())

    def parked_items(self, limit: int = 100) -> Sequence[IntakeItem]:
        """Return items parked with a reason, by identity."""
        found = [item for item in self._tables.items.values() if item.wait == "time" and item.reason is not None]
        return sorted(found, key=lambda item: item.identity)[:limit]


def _log(stored: StoredLog) -> ChainLog:
    return stored.log


def _place(log: ChainLog) -> tuple[int, int]:
    return (log.block_number, log.log_index)


def _turn(item: IntakeItem) -> tuple[int, CreditIdentity]:
    return (item.height, item.identity)


def _due_rules(heights: Heights, now: datetime) -> dict[WaitKind, Callable[[IntakeItem], bool]]:
    def reached(height: int | None) -> Callable[[IntakeItem], bool]:
        return lambda item: height is not None and height >= item.height

    return {
        "now": lambda _: True,
        "head": reached(heights.head),
        "safe": reached(heights.safe),
        "finalized": reached(heights.finalized),
        "time": lambda item: item.retry_at is not None and item.retry_at <= now,
    }


def _record_evidence(tables: Tables, decision: d.RecordEvidence) -> None:
    """Store headers, logs and the cursor of a range, and wake the intake of every log."""
    _store_cursor(tables, decision.cursor)
    chain_id = decision.cursor.chain_id
    for header in decision.headers:
        tables.window.put((chain_id, header.number), StoredHeader(chain_id, header))
    for log in decision.logs:
        tables.logs.put(_log_key(log), StoredLog(log, canonical=True))
        _wake(tables, log)
    numbers = [stored.header.number for stored in tables.window.find("chain", chain_id)]
    below = sorted(number for number in numbers if number < decision.keep_from)
    for number in below[:-1]:
        tables.window.drop((chain_id, number))


def _rewind(tables: Tables, decision: d.Rewind) -> None:
    """Orphan the logs above the cursor, drop the headers above it, and wake the intake of every such log."""
    _store_cursor(tables, decision.cursor)
    chain_id, block = decision.cursor.chain_id, decision.cursor.block.number
    for stored in tables.logs.find("chain", chain_id):
        if stored.canonical and stored.log.block_number > block:
            tables.logs.put(_log_key(stored.log), attrs.evolve(stored, canonical=False))
            _wake(tables, stored.log)
    for header in [stored.header for stored in tables.window.find("chain", chain_id)]:
        if header.number > block:
            tables.window.drop((chain_id, header.number))


def _halt_chain(tables: Tables, decision: d.HaltChain) -> None:
    """Store a cursor that is halted, and wake the intake of every log above the block of the halt."""
    cursor = decision.cursor
    _store_cursor(tables, cursor)
    for stored in tables.logs.find("chain", cursor.chain_id):
        above = cursor.halt is not None and stored.log.block_number > cursor.halt.at_block
        if stored.canonical and above:
            _wake(tables, stored.log)


def _store_cursor(tables: Tables, cursor: Cursor) -> None:
    """Insert or replace a cursor.

    Raises:
        LeaseLost: the stored fence is newer.

    """
    stored = tables.cursors.get(cursor.chain_id)
    if stored is not None and stored.fence > cursor.fence:
        raise LeaseLost(stored=stored.fence, given=cursor.fence)
    tables.cursors.put(cursor.chain_id, cursor)


def _store_item(tables: Tables, item: IntakeItem) -> None:
    """Replace an intake item."""
    if tables.items.get(item.identity) is None:
        raise NotFound("there is no such intake item", field="identity")
    tables.items.put(item.identity, item)


def _wake(tables: Tables, log: ChainLog) -> None:
    tables.items.put(log.identity, IntakeItem(identity=log.identity, wait="now", height=log.block_number))


def _log_key(log: ChainLog) -> tuple[int, bytes, int]:
    return (log.chain_id, log.block_hash, log.log_index)


def write(tables: Tables, decision: EvidenceDecision) -> None:
    """Write one decision about evidence."""
    match decision:
        case d.RecordEvidence():
            _record_evidence(tables, decision)
        case d.Rewind():
            _rewind(tables, decision)
        case d.HaltChain():
            _halt_chain(tables, decision)
        case d.StoreCursor(cursor):
            _store_cursor(tables, cursor)
        case d.StoreItem(item):
            _store_item(tables, item)
        case _:
            assert_never(decision)
