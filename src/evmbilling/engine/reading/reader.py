"""The reader: turns blocks into evidence, and takes evidence back when the chain changes its mind.

Blocks that cannot change any more are read in ranges as large as a node answers well; those near the head one by one,
each the child of the one before. Evidence and cursor are one transaction per range. Orders are not touched here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Literal

import attrs

from evmbilling.domain.catalogue.catalogue import Heights, Network, PaymentContract
from evmbilling.domain.decisions import Decision, RecordEvidence, Rewind
from evmbilling.domain.identity import parse_slug
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, Cursor, ScannedRange, Tip
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.base import Outcome, Progress, ReaderWork, ReadReport, reading
from evmbilling.engine.reading.ground import common_ground
from evmbilling.engine.reading.heights import deepest, irreversible_among
from evmbilling.engine.reading.rescan import sweep
from evmbilling.engine.reading.treasury_watch import unwatched
from evmbilling.engine.refunds.proofs import look_at_proofs
from evmbilling.errors import BillingError, ProviderError, UnknownNetwork
from evmbilling.ports.crash import crash_point
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.reader")
AT_A_LOOK = 10_000
"""Blocks that one look at a network reads at most."""
NEAR = 128
"""Blocks near the head that are read and written at once, at most."""
NEAR_AT_FIRST = 8
"""How many they are while nobody knows how full they are."""
NEAR_LOGS = 8_000
"""Logs that blocks near the head should have at once: what memory holds does not depend on how full they are."""
FAR = 64
"""From so many blocks on that cannot change any more, they are read in ranges."""
Wait = Callable[[float], bool]
"""Waits so many seconds, or less when something says that there may be a new block; False to end."""


def read_chain(
    ports: Ports,
    runner: Runner,
    name: str,
    *,
    max_blocks: int,
    to_block: int | None = None,
    progress: Progress | None = None,
) -> ReadReport:
    """Read a network forward under its lease; see :meth:`evmbilling.engine.core.Engine.read_chain`."""
    network, provider = runner.read(lambda unit: network_and_provider(ports, unit, name))
    with reading(ports, network.chain_id) as lease:
        if lease is None:
            return ReadReport(network=name, outcome="busy")
        crash_point("reader.leased")
        work = ReaderWork(ports, runner, network=network, provider=provider, lease=lease, progress=progress)
        try:
            return _Reader(work, to_block).run(max_blocks)
        except ProviderError as error:
            ports.telemetry.count("reads_failed", network=name, reason=error.code)
            raise


def follow_chain(ports: Ports, runner: Runner, name: str, *, wait: Wait, seconds: float) -> Iterator[ReadReport]:
    """Read a network again and again; see :meth:`evmbilling.engine.core.Engine.follow`."""
    while True:
        try:
            yield read_chain(ports, runner, name, max_blocks=AT_A_LOOK)
        except BillingError as error:
            if not (error.retry_safe or isinstance(error, ProviderError)):
                raise
        if not wait(seconds):
            return


class _Reader:
    """One pass over one network."""

    def __init__(self, work: ReaderWork, to_block: int | None) -> None:
        self._work = work
        self._network = work.network
        self._source = work.source
        self._bound = () if to_block is None else (to_block,)
        self._blocks = self._logs = 0
        self._near = NEAR_AT_FIRST
        self._asked_without = False

    def run(self, max_blocks: int) -> ReadReport:
        cursor = self._begin()
        if isinstance(cursor, str):
            return self._report(cursor)
        tip = self._source.tip(cursor.block.number)
        changed = self._diverged(cursor, tip)
        if changed == "behind":
            return self._report(changed)
        rewound = 0
        if changed == "diverged":
            ancestor = self._common_ancestor(cursor, tip.head)
            if ancestor is None:
                return self._report("halted")
            rewound = cursor.block.number - ancestor.number
            cursor = self._rewind(cursor, ancestor)
        cursor = self._forward(cursor, tip, max_blocks)
        rescanned = 0
        if cursor.rescan is not None and self._blocks < max_blocks:
            cursor, rescanned = sweep(self._work, cursor, max_blocks - self._blocks)
        if cursor.halt is not None:
            return self._report("halted", rewound=rewound, rescanned=rescanned)
        cursor, coins = look_at_proofs(self._work, cursor, everything=rewound > 0)
        self._logs += coins
        done = bool(self._blocks or rewound or rescanned or coins)
        return self._report("read" if done else "idle", rewound=rewound, rescanned=rescanned)

    def _begin(self) -> Cursor | Outcome:
        """Return the cursor, ours and unhalted, or why there is nothing to read."""
        cursor, new = self._work.runner.read(self._stored)
        if cursor is None:
            self._source.check_chain()
            cursor = self._first_cursor()
            if cursor is None:
                return "nothing_to_watch"
            self._work.check_times([cursor.block])
            # The block before the first is part of the window: a reorg may reach down to it.
            self._work.apply([RecordEvidence(cursor=cursor, headers=(cursor.block,), logs=(), keep_from=0)])
            _, new = self._work.runner.read(self._stored)
        if cursor.halt is not None:
            return "halted"
        if new:
            self._work.apply(new)
        if cursor.fence != self._work.fence:
            # What a worker that lost the lease wrote after we read the cursor is taken back, and read again.
            cursor = attrs.evolve(cursor, fence=self._work.fence)
            self._work.apply([Rewind(cursor=cursor)])
        return cursor

    def _stored(self, unit: Unit) -> tuple[Cursor | None, Sequence[Decision]]:
        return unit.cursor(self._network.chain_id), unwatched(unit, self._network)

    def _forward(self, cursor: Cursor, tip: Tip, max_blocks: int) -> Cursor:
        while self._blocks < max_blocks:
            start = cursor.block.number
            last = min(tip.head.number, start + max_blocks - self._blocks, *self._bound)
            if last <= start or not self._work.still_ours():
                break
            final = deepest(self._network.irreversible_after, cursor, tip)
            far = final - start >= FAR
            self._asked_without = False
            cursor = self._read_far(cursor, tip, min(final, last)) if far else self._read_near(cursor, tip, last)
            if self._asked_without:
                continue
            if cursor.block.number in (start, tip.head.number):
                break
            tip = self._source.tip(cursor.block.number)
            if tip.there is None or tip.there.hash != cursor.block.hash:
                break  # a reorganisation, and no contradiction: the next look goes back to the common ancestor
        return cursor

    def _read_near(self, cursor: Cursor, tip: Tip, last: int) -> Cursor:
        """Read blocks that may still change: every header, and the logs of exactly these blocks."""
        first = cursor.block.number + 1
        last = min(last, first + self._near - 1)
        with self._span("read", from_block=str(first), to_block=str(last)):
            with self._span("fetch"):
                headers = [tip.head] if first == tip.head.number else self._source.headers(first, last)
                if not headers:
                    return cursor
                if headers[0].parent_hash != cursor.block.hash:
                    raise self._work.contradiction("the chain changed while it was read")
                sight, window = self._work.sight_and_window(cursor)
                logs = self._source.logs(headers, sight.asked)
            with self._span("decode"):
                found = sight.keep(logs)
            self._near = near_after(self._near, len(headers), len(logs))
            after = self._after(cursor, tip, headers, window)
            floor = after.irreversible.number if after.irreversible else 0
            kept = [header for header in headers if header.number >= floor]
            return self._record(cursor, after, kept, found, last)

    def _after(self, cursor: Cursor, tip: Tip, headers: Sequence[BlockHeader], window: Sequence[BlockHeader]) -> Cursor:
        """Return where reading stands behind these headers near the head."""
        known = [*window, *headers]
        heights = self._work.heights(headers[-1], cursor, tip, known)
        irreversible = irreversible_among(known, self._network.irreversible_after, cursor, heights)
        return self._moved(cursor, headers[-1], heights, irreversible)

    def _read_far(self, cursor: Cursor, tip: Tip, last: int) -> Cursor:
        """Read blocks that cannot change any more, range by range. Of their headers only the last one is kept."""
        sight = self._work.sight()
        prepare = self._work.ports.storage.prepare
        with self._source.scan(
            cursor.block.number + 1, last, sight.asked, ready=lambda logs: prepare(sight.keep(logs))
        ) as ranges:
            while cursor.block.number < last:
                first = str(cursor.block.number + 1)
                with self._span("read", from_block=first, to_block=str(last)):
                    with self._span("fetch"):
                        found = next(ranges, None)
                    if found is None or not self._work.still_ours():
                        break
                    self._work.ports.telemetry.annotate(to_block=str(found.last.number))
                    self._follows(cursor, found, tip)
                    heights = self._work.heights(found.last, cursor, tip)
                    after = self._moved(cursor, found.last, heights, found.last)
                    self._near = near_after(NEAR, found.last.number - cursor.block.number, len(found.logs))
                    cursor = self._record(cursor, after, [found.last], found.logs, last)
                    if self._asked_without:
                        break
        return cursor

    def _span(self, name: str, **attributes: str) -> AbstractContextManager[None]:
        return self._work.ports.telemetry.span(f"billing.{name}", network=self._network.name, **attributes)

    def _follows(self, cursor: Cursor, found: ScannedRange, tip: Tip) -> None:
        """A range begins with the child of the last block read, and ends on the chain that the tip is on."""
        if found.first.number != cursor.block.number + 1 or found.first.parent_hash != cursor.block.hash:
            raise self._work.contradiction("the chain changed while it was read")
        if found.last.number == tip.head.number and found.last != tip.head:
            raise self._work.contradiction("a range ends on another chain than the head")

    def _record(
        self, cursor: Cursor, after: Cursor, headers: Sequence[BlockHeader], logs: Sequence[ChainLog], end: int
    ) -> Cursor:
        """Write what was read; return where reading stands now: not further when more is watched by now."""
        self._work.check_times(headers, logs)
        keep_from = after.irreversible.number if after.irreversible else 0
        ports = self._work.ports
        if logs:
            blocks_read = range(cursor.block.number + 1, after.block.number + 1)
            ports.reads.remember(self._network.chain_id, blocks_read, ports.telemetry.context())
        with self._span("write"):
            evidence = RecordEvidence(cursor=after, headers=tuple(headers), logs=logs, keep_from=keep_from)
            self._asked_without = not self._work.record(evidence, cursor.block, durable=after.block.number >= end)
            if self._asked_without:
                return cursor
        blocks = after.block.number - cursor.block.number
        self._blocks += blocks
        self._logs += len(logs)
        ports.telemetry.count("blocks_read", blocks, network=self._network.name)
        if logs:
            ports.telemetry.count("contract_events", len(logs), network=self._network.name)
        self._work.tell(after.block.number, end)
        return after

    def _moved(self, cursor: Cursor, block: BlockHeader, heights: Heights, irreversible: BlockHeader | None) -> Cursor:
        return attrs.evolve(
            cursor,
            block=block,
            heights=heights,
            irreversible=irreversible,
            fence=self._work.fence,
            updated_at=self._work.ports.clock.now(),
        )

    def _diverged(self, cursor: Cursor, tip: Tip) -> Literal["no", "behind", "diverged"]:
        """Compare our last block with the node's at that height. A lower head alone proves nothing."""
        if tip.there is not None:
            return "no" if tip.there.hash == cursor.block.hash else "diverged"
        ours = next((h for h in self._work.window(cursor) if h.number == tip.head.number), None)
        return "diverged" if ours is not None and ours.hash != tip.head.hash else "behind"

    def _common_ancestor(self, cursor: Cursor, head: BlockHeader) -> BlockHeader | None:
        """Return the last block of the window that is on the chain of this head; halt when that is too deep."""
        floor = cursor.irreversible.number if cursor.irreversible else -1
        window = self._work.window(cursor)
        found = self._source.common_ancestor([h for h in window if h.number >= floor], head)
        if found is not None:
            return found
        if cursor.irreversible is None:
            # Nothing that we know was irreversible: begin again below the first block that can matter.
            first = self._first_cursor()
            return first.block if first is not None and first.block.number <= cursor.block.number else None
        ground = common_ground(self._work.runner, self._source, cursor)
        self._work.halt(cursor, ground.number if ground is not None else 0)
        return None

    def _rewind(self, cursor: Cursor, ancestor: BlockHeader) -> Cursor:
        def lower(height: int | None) -> int | None:
            return None if height is None else min(height, ancestor.number)

        safe, finalized = lower(cursor.heights.safe), lower(cursor.heights.finalized)
        heights = Heights(head=ancestor.number, safe=safe, finalized=finalized)
        back = self._moved(cursor, ancestor, heights, cursor.irreversible)
        self._work.apply([Rewind(cursor=back)])
        depth = cursor.block.number - ancestor.number
        self._work.ports.telemetry.count("reorgs", network=self._network.name, depth=str(depth))
        facts = {"network": self._network.name, "block": ancestor.number, "depth": depth}
        _log.warning("the chain changed above this block", extra=facts)
        return back

    def _first_cursor(self) -> Cursor | None:
        """Begin one block before the first that can matter; None while there is nothing to watch, or no such block.

        Raises:
            ChainMismatch: the node has later blocks, and not that one.

        """
        contracts = self._work.runner.read(lambda unit: unit.contracts(self._network.chain_id))
        start = first_block(self._network, contracts)
        if start is None:
            return None
        before = self._source.tip(max(start - 1, 0)).there
        if before is None:
            return None
        return Cursor(
            chain_id=self._network.chain_id,
            block=before,
            heights=Heights(head=before.number),
            fence=self._work.fence,
            updated_at=self._work.ports.clock.now(),
        )

    def _report(self, outcome: Outcome, *, rewound: int = 0, rescanned: int = 0) -> ReadReport:
        return ReadReport(
            network=self._network.name,
            outcome=outcome,
            blocks=self._blocks,
            logs=self._logs,
            rewound=rewound,
            rescanned=rescanned,
        )


def near_after(blocks: int, read: int, logs: int) -> int:
    """Return how many blocks near the head are read next: up to twice as many, fewer where these were full."""
    fitting = NEAR_LOGS * read // logs if logs else NEAR
    return max(1, min(2 * blocks, fitting, NEAR))


def first_block(network: Network, contracts: Sequence[PaymentContract]) -> int | None:
    """Return the block where reading begins: as configured, else where the first bound contract was deployed."""
    if network.start_block is not None:
        return network.start_block
    emitting = [c.start_block for c in contracts if c.kind != "erc20" or c.start_block]
    return min(emitting, default=0 if contracts else None)


def network_and_provider(ports: Ports, unit: Unit, name: str) -> tuple[Network, Provider]:
    """Return a network and the provider that reads it: that of a gateway that sells there."""
    network = unit.network(parse_slug(name, field="network"))
    if network is None:
        raise UnknownNetwork(f"there is no network {name}", field="network")
    selling = [g.provider for g in unit.gateways() if name in g.networks and g.archived_at is None]
    return network, ports.provider(selling[0] if selling else next(iter(ports.providers), "evm"))
