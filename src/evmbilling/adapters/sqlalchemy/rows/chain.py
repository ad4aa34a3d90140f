"""Rows of evidence: cursors, headers, logs, intake items, leases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evmbilling.adapters.sqlalchemy.columnwise import Same
from evmbilling.domain.catalogue.catalogue import Heights
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, Cursor, Halt, IntakeItem, Lease, Rescan
from evmbilling.domain.reading.log_columns import LogColumns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from evmbilling.adapters.sqlalchemy.rows.catalogue import Row, Values

    Columns = Mapping[str, Sequence[Any]]

_WORD = 32


def cursor_values(cursor: Cursor) -> Values:
    """Write a cursor."""
    irreversible, halt = cursor.irreversible, cursor.halt
    return {
        "chain_id": cursor.chain_id,
        "block_number": cursor.block.number,
        "block_hash": cursor.block.hash,
        "parent_hash": cursor.block.parent_hash,
        "block_time": cursor.block.timestamp,
        "head": cursor.heights.head,
        "safe": cursor.heights.safe,
        "finalized": cursor.heights.finalized,
        "irreversible_number": None if irreversible is None else irreversible.number,
        "irreversible_hash": None if irreversible is None else irreversible.hash,
        "irreversible_parent": None if irreversible is None else irreversible.parent_hash,
        "irreversible_time": None if irreversible is None else irreversible.timestamp,
        "halt_reason": None if halt is None else halt.reason,
        "halt_block": None if halt is None else halt.at_block,
        "halt_since": None if halt is None else halt.since,
        "rescan_next": None if cursor.rescan is None else cursor.rescan.next,
        "rescan_last": None if cursor.rescan is None else cursor.rescan.last,
        "fence": cursor.fence,
        "event_seq": cursor.event_seq,
        "updated_at": cursor.updated_at,
    }


def read_cursor(row: Row) -> Cursor:
    """Read a cursor."""
    irreversible = halt = None
    if row.irreversible_number is not None:
        irreversible = BlockHeader(
            number=row.irreversible_number,
            hash=row.irreversible_hash,
            parent_hash=row.irreversible_parent,
            timestamp=row.irreversible_time,
        )
    if row.halt_reason is not None:
        halt = Halt(reason=row.halt_reason, at_block=row.halt_block, since=row.halt_since)
    return Cursor(
        chain_id=row.chain_id,
        block=BlockHeader(
            number=row.block_number, hash=row.block_hash, parent_hash=row.parent_hash, timestamp=row.block_time
        ),
        heights=Heights(head=row.head, safe=row.safe, finalized=row.finalized),
        irreversible=irreversible,
        halt=halt,
        rescan=None if row.rescan_next is None else Rescan(next=row.rescan_next, last=row.rescan_last),
        fence=row.fence,
        event_seq=row.event_seq,
        updated_at=row.updated_at,
    )


def header_values(chain_id: int, header: BlockHeader) -> Values:
    """Write a header of the window."""
    return {
        "chain_id": chain_id,
        "number": header.number,
        "hash": header.hash,
        "parent_hash": header.parent_hash,
        "block_time": header.timestamp,
    }


def read_header(row: Row) -> BlockHeader:
    """Read a header of the window."""
    return BlockHeader(number=row.number, hash=row.hash, parent_hash=row.parent_hash, timestamp=row.block_time)


def log_columns(logs: Sequence[ChainLog]) -> Columns:
    """Write logs, canonical, as columns; the topics of each are one run of 32-byte words."""
    if isinstance(logs, LogColumns):
        return {
            "chain_id": Same(logs.chain_id, len(logs)),
            "block_hash": logs.block_hash,
            "log_index": logs.log_index,
            "block_number": logs.block_number,
            "block_time": logs.block_time,
            "tx_hash": logs.tx_hash,
            "ordinal": logs.ordinal,
            "address": logs.address,
            "topics": logs.topics,
            "data": logs.data,
            "canonical": Same(True, len(logs)),
        }
    return {
        "chain_id": [log.chain_id for log in logs],
        "block_hash": [log.block_hash for log in logs],
        "log_index": [log.log_index for log in logs],
        "block_number": [log.block_number for log in logs],
        "block_time": [log.block_time for log in logs],
        "tx_hash": [log.tx_hash for log in logs],
        "ordinal": [log.ordinal for log in logs],
        "address": [log.address for log in logs],
        "topics": [b"".join(log.topics) for log in logs],
        "data": [log.data for log in logs],
        "canonical": Same(True, len(logs)),
    }


def read_log(row: Row) -> ChainLog:
    """Read a log."""
    topics = row.topics
    return ChainLog(
        chain_id=row.chain_id,
        block_number=row.block_number,
        block_hash=row.block_hash,
        block_time=row.block_time,
        tx_hash=row.tx_hash,
        log_index=row.log_index,
        ordinal=row.ordinal,
        address=row.address,
        topics=tuple(topics[start : start + _WORD] for start in range(0, len(topics), _WORD)),
        data=row.data,
    )


def item_values(item: IntakeItem) -> Values:
    """Write an intake item."""
    return {
        "chain_id": item.identity.chain_id,
        "tx_hash": item.identity.tx_hash,
        "ordinal": item.identity.ordinal,
        "wait": item.wait,
        "height": item.height,
        "retry_at": item.retry_at,
        "attempts": item.attempts,
        "reason": item.reason,
    }


def awake_columns(movements: Sequence[tuple[int, bytes, int]], heights: Mapping[bytes, int]) -> Columns:
    """Write intake items that wait ``now``, by chain, transaction and ordinal, in this order, as columns.

    ``heights`` are the blocks of the transactions, in whose order they are claimed.
    """
    columns: dict[str, Sequence[Any]] = dict(
        zip(("chain_id", "tx_hash", "ordinal"), zip(*movements, strict=True), strict=True)
    )
    first, last = movements[0][0], movements[-1][0]
    if first == last:
        columns["chain_id"] = Same(first, len(movements))
    columns["height"] = [heights[tx_hash] for tx_hash in columns["tx_hash"]]
    awake = {"wait": "now", "retry_at": None, "attempts": 0, "reason": None}
    return columns | {name: Same(value, len(movements)) for name, value in awake.items()}


def read_item(row: Row) -> IntakeItem:
    """Read an intake item."""
    return IntakeItem(
        identity=CreditIdentity(row.chain_id, row.tx_hash, row.ordinal),
        wait=row.wait,
        height=row.height,
        retry_at=row.retry_at,
        attempts=row.attempts,
        reason=row.reason,
    )


def read_lease(row: Row) -> Lease:
    """Read a lease."""
    return Lease(name=row.name, owner=row.owner, fence=row.fence, until=row.until)
