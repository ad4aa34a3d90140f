"""Reading again what was read before: evidence that is missing or was altered is stored, and nothing is taken back.

The cursor stays where it is meanwhile, so no deadline and no confirmation depends on it. A log that we hold and the
node leaves out is not believed to be gone: either its block is still there, and the node's answer is wrong, or it is
not, and what we called irreversible was not.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from evmbilling.domain.decisions import RecordEvidence, Rewind, StoreCursor
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, Cursor, Rescan
from evmbilling.domain.refunds.proofs import is_coin_log
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.base import ReaderWork, Sight, reading
from evmbilling.errors import InputError, NotFound, RequestInProgress
from evmbilling.ports.storage import Unit

AT_ONCE = 128
"""Blocks that may still change and are read again at once."""


def ask_rescan(ports: Ports, runner: Runner, chain_id: int, from_block: int, to_block: int | None) -> Rescan:
    """Note what is to be read again; see :meth:`evmbilling.engine.core.Engine.rescan`."""
    with reading(ports, chain_id) as lease:
        if lease is None:
            raise RequestInProgress("another worker reads this network at the moment; try again")
        fence = lease.fence
        return runner.write(lambda unit: _note(unit, chain_id, from_block, to_block, fence))


def _note(unit: Unit, chain_id: int, from_block: int, to_block: int | None, fence: int) -> Rescan:
    cursor = unit.cursor(chain_id)
    if cursor is None:
        raise NotFound("this network was never read", field="network")
    last = cursor.block.number if to_block is None else to_block
    if not 0 <= from_block <= last <= cursor.block.number:
        raise InputError(f"blocks up to {cursor.block.number} were read", field="from_block")
    before = cursor.rescan
    if before is not None:
        from_block, last = min(from_block, before.next), max(last, before.last)
    wanted = Rescan(next=from_block, last=last)
    noted = attrs.evolve(cursor, rescan=wanted, fence=fence)
    # Under a new lease, what a worker that lost the old one wrote meanwhile is taken back, as the reader does.
    unit.apply([StoreCursor(noted) if cursor.fence == fence else Rewind(cursor=noted)])
    return wanted


def sweep(work: ReaderWork, cursor: Cursor, max_blocks: int) -> tuple[Cursor, int]:
    """Read again what was asked for, at most so many blocks; return the cursor and how many they were."""
    wanted = cursor.rescan
    if wanted is None:
        return cursor, 0
    last = min(wanted.last, cursor.block.number, wanted.next + max_blocks - 1)
    final = min(last, cursor.irreversible.number if cursor.irreversible else -1)
    sight = work.sight()
    if wanted.next <= final:
        cursor = _sweep_far(work, cursor, wanted, final, sight)
    while cursor.halt is None and cursor.rescan is not None and cursor.rescan.next <= last and work.still_ours():
        cursor = _sweep_near(work, cursor, cursor.rescan, last, sight)
    reached = cursor.rescan.next if cursor.rescan is not None else wanted.last + 1
    return cursor, reached - wanted.next


def _sweep_far(work: ReaderWork, cursor: Cursor, wanted: Rescan, last: int, sight: Sight) -> Cursor:
    before: BlockHeader | None = None
    with work.source.scan(wanted.next, last, sight.asked) as ranges:
        for found in ranges:
            if before is not None and found.first.parent_hash != before.hash:
                raise work.contradiction("the chain changed while it was read")
            if cursor.irreversible is not None and found.last.number == cursor.irreversible.number:
                _same(work, found.last, cursor.irreversible)
            if not work.still_ours():
                break
            before = found.last
            cursor = _compare(work, cursor, found.last.number, sight.keep(found.logs), sight)
            work.tell(found.last.number, last)
            if cursor.halt is not None:
                break
    return cursor


def _same(work: ReaderWork, there: BlockHeader, ours: BlockHeader) -> None:
    if there.hash != ours.hash:
        raise work.contradiction("a range ends on another chain than what was read")


def _sweep_near(work: ReaderWork, cursor: Cursor, wanted: Rescan, last: int, sight: Sight) -> Cursor:
    end = min(last, wanted.next + AT_ONCE - 1)
    headers = work.source.headers(wanted.next, end)
    held = {header.number: header.hash for header in work.window(cursor)}
    if len(headers) != end - wanted.next + 1 or any(held.get(h.number, h.hash) != h.hash for h in headers):
        raise work.contradiction("the chain changed while it was read")
    found = sight.keep(work.source.logs(headers, sight.asked))
    cursor = _compare(work, cursor, end, found, sight)
    work.tell(end, last)
    return cursor


def _tells_another_time(log: ChainLog, stored: ChainLog | None) -> bool:
    """Whether one and the same block has another time than it had: its hash is made of its time, too."""
    return stored is not None and log.block_hash == stored.block_hash and log.block_time != stored.block_time


def _compare(work: ReaderWork, cursor: Cursor, end: int, found: Sequence[ChainLog], sight: Sight) -> Cursor:
    """Store what is new or differs in the blocks up to ``end``, and move on; halt when the chain is another one."""
    wanted = cursor.rescan
    if wanted is None:
        return cursor
    chain_id, first = cursor.chain_id, wanted.next
    stored = work.runner.read(lambda unit: unit.logs_between(chain_id, first, end))
    # No range of logs tells of the coin: its transfers are looked for by their transactions.
    stored = [log for log in stored if not is_coin_log(log)]
    known = {_place(log): log for log in stored}
    lost = {_place(log) for log in sight.keep(stored)} - {_place(log) for log in found}
    if lost:
        return _missing(work, cursor, min((known[place] for place in lost), key=lambda log: log.block_number))
    following = Rescan(next=end + 1, last=wanted.last) if end < wanted.last else None
    moved = attrs.evolve(cursor, rescan=following, fence=work.fence, updated_at=work.ports.clock.now())
    new = tuple(log for log in found if known.get(_place(log)) != log)
    work.check_times((), new, [log for log in new if _tells_another_time(log, known.get(_place(log)))])
    keep_from = cursor.irreversible.number if cursor.irreversible else 0
    work.apply([RecordEvidence(cursor=moved, headers=(), logs=new, keep_from=keep_from)])
    work.ports.telemetry.count("logs_rescanned", len(new), network=work.network.name)
    return moved


def _missing(work: ReaderWork, cursor: Cursor, log: ChainLog) -> Cursor:
    """Judge a log that we hold and the node left out, by the block that the node has at its height."""
    there = work.source.header(log.block_number)
    irreversible = cursor.irreversible is not None and log.block_number <= cursor.irreversible.number
    if there is None or there.hash == log.block_hash or not irreversible:
        raise work.contradiction(f"the node leaves out a log of block {log.block_number} that it gave before")
    return work.halt(cursor, log.block_number - 1)


def _place(log: ChainLog) -> tuple[bytes, int]:
    return (log.block_hash, log.log_index)
