"""The reader: turns blocks into evidence, and takes evidence back when the chain changes its mind.

Evidence and cursor are one transaction per range of blocks. Orders are not touched here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

import attrs
from attrs import frozen

from evmbilling.domain.catalogue import Heights, Network, PaymentContract
from evmbilling.domain.decisions import Decision, HaltChain, Publish, RecordEvidence, Rewind
from evmbilling.domain.events import Event, EventType
from evmbilling.domain.evidence import BlockHeader, Cursor, Halt, Lease
from evmbilling.domain.identity import parse_slug
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.ground import common_ground
from evmbilling.engine.treasury_watch import Watch, unwatched
from evmbilling.errors import ChainMismatch, UnknownNetwork
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.crash import crash_point
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

RANGE = 50
LEASE_SECONDS = 30
Outcome = Literal["read", "idle", "busy", "behind", "halted", "nothing_to_watch"]


@frozen(kw_only=True)
class ReadReport:
    """What one call of the reader did.

    Attributes:
        outcome: ``busy`` another worker holds the lease; ``behind`` the node is behind what we have read;
            ``halted`` a reorg went below the irreversible height.
        blocks, logs: how many were recorded.
        rewound: how many blocks were taken back.

    """

    network: str
    outcome: Outcome
    blocks: int = 0
    logs: int = 0
    rewound: int = 0


def read_chain(ports: Ports, runner: Runner, name: str, *, max_blocks: int) -> ReadReport:
    """Read a network forward under its lease; see :meth:`evmbilling.engine.core.Engine.read_chain`."""
    network, provider = runner.read(lambda unit: network_and_provider(ports, unit, name))
    with reading(ports, network) as lease:
        if lease is None:
            return ReadReport(network=name, outcome="busy")
        crash_point("reader.leased")
        return _Reader(ports, runner, network, provider, lease).run(max_blocks)


@contextmanager
def reading(ports: Ports, network: Network) -> Iterator[Lease | None]:
    """Hold the right to write a network's evidence; None when another worker, or another thread of this one, has it."""
    name = f"reader:{network.chain_id}"
    with ports.claims.taken(name) as free:
        lease = ports.storage.acquire_lease(name, ports.worker, LEASE_SECONDS) if free else None
        try:
            yield lease
        finally:
            if lease is not None:
                ports.storage.release_lease(lease)


class _Reader:
    """One pass over one network."""

    def __init__(self, ports: Ports, runner: Runner, network: Network, provider: Provider, lease: Lease) -> None:
        self._ports = ports
        self._runner = runner
        self._network = network
        self._provider = provider
        self._lease = lease
        self._source: ChainSource = provider.chain(network)

    def run(self, max_blocks: int) -> ReadReport:
        self._source.check_chain()
        cursor = self._runner.read(lambda unit: unit.cursor(self._network.chain_id))
        if cursor is None:
            cursor = self._first_cursor()
            if cursor is None:
                return self._report("nothing_to_watch")
            # The block before the first is part of the window: a reorg may reach down to it.
            self._apply([RecordEvidence(cursor=cursor, headers=(cursor.block,), logs=(), keep_from=0)])
        if cursor.halt is not None:
            return self._report("halted")
        new = self._runner.read(lambda unit: unwatched(unit, self._network))
        if new:
            self._apply(new)
        if cursor.fence != self._lease.fence:
            # What a worker that lost the lease wrote after we read the cursor is taken back, and read again.
            cursor = attrs.evolve(cursor, fence=self._lease.fence)
            self._apply([Rewind(cursor=cursor)])
        rewound = 0
        changed = self._diverged(cursor)
        if changed == "behind":
            return self._report("behind")
        if changed == "diverged":
            ancestor = self._common_ancestor(cursor)
            if ancestor is None:
                return self._report("halted")
            rewound = cursor.block.number - ancestor.number
            cursor = self._rewind(cursor, ancestor)
        return self._forward(cursor, max_blocks, rewound)

    def _forward(self, cursor: Cursor, max_blocks: int, rewound: int) -> ReadReport:
        blocks = logs = 0
        while blocks < max_blocks:
            head = self._source.header("latest")
            if head is None or head.number <= cursor.block.number:
                break
            last = min(head.number, cursor.block.number + min(RANGE, max_blocks - blocks))
            headers = self._source.headers(cursor.block.number + 1, last)
            if not headers or not self._still_ours():
                break
            if headers[0].parent_hash != cursor.block.hash:
                raise ChainMismatch("the chain changed while it was read")
            # The watch set is read after the head: a contract that was saved before a block was mined is in it.
            watch = self._runner.read(lambda unit: Watch.load(unit, self._network.chain_id))
            found = watch.keep(self._provider, self._source.logs(headers, watch.ask(self._provider)))
            cursor = self._advance(cursor, headers)
            keep_from = cursor.irreversible.number if cursor.irreversible else 0
            self._apply([RecordEvidence(cursor=cursor, headers=tuple(headers), logs=found, keep_from=keep_from)])
            blocks += len(headers)
            logs += len(found)
            self._ports.telemetry.count("blocks_read", len(headers), network=self._network.name)
        return self._report("read" if blocks or rewound else "idle", blocks=blocks, logs=logs, rewound=rewound)

    def _still_ours(self) -> bool:
        """Renew the lease; False when another worker has taken it meanwhile."""
        renewed = self._ports.storage.acquire_lease(self._lease.name, self._lease.owner, LEASE_SECONDS)
        if renewed is None or renewed.fence != self._lease.fence:
            return False
        self._lease = renewed
        return True

    def _advance(self, cursor: Cursor, headers: Sequence[BlockHeader]) -> Cursor:
        """Return the cursor at the last header. Heights count only what was read; a tag never steps back."""
        block = headers[-1]
        heights = Heights(
            head=block.number,
            safe=self._tag("safe", headers, cursor.heights.safe),
            finalized=self._tag("finalized", headers, cursor.heights.finalized),
        )
        return attrs.evolve(
            cursor,
            block=block,
            heights=heights,
            irreversible=self._irreversible(cursor, headers, heights),
            fence=self._lease.fence,
            updated_at=self._ports.clock.now(),
        )

    def _tag(self, tag: Literal["safe", "finalized"], headers: Sequence[BlockHeader], before: int | None) -> int | None:
        """Return the height of a tag within what was read; None while the node has none."""
        header = self._source.header(tag)
        if header is None:
            return before
        if any(h.number == header.number and h.hash != header.hash for h in headers):
            raise ChainMismatch(f"the node calls a block {tag} that is not on the chain that it gave")
        reached = min(header.number, headers[-1].number)
        return reached if before is None else max(reached, before)

    def _irreversible(self, cursor: Cursor, headers: Sequence[BlockHeader], heights: Heights) -> BlockHeader | None:
        rule = self._network.irreversible_after
        known = [*self._window(cursor), *headers]
        reached = [h for h in known if rule.reached(h.number, heights)]
        newest = max(reached, key=lambda h: h.number, default=None)
        if newest is None or (cursor.irreversible and newest.number < cursor.irreversible.number):
            return cursor.irreversible
        return newest

    def _diverged(self, cursor: Cursor) -> Literal["no", "behind", "diverged"]:
        """Compare our last block with the node's at that height. A lower head alone proves nothing."""
        there = self._source.header(cursor.block.number)
        if there is not None:
            return "no" if there.hash == cursor.block.hash else "diverged"
        head = self._source.header("latest")
        if head is None:
            return "behind"
        ours = next((h for h in self._window(cursor) if h.number == head.number), None)
        return "diverged" if ours is not None and ours.hash != head.hash else "behind"

    def _common_ancestor(self, cursor: Cursor) -> BlockHeader | None:
        """Walk back through the window to the last block that both have; halt when it is too deep."""
        floor = cursor.irreversible.number if cursor.irreversible else -1
        window = sorted(self._window(cursor), key=lambda h: -h.number)
        for ours in window:
            if ours.number < floor:
                break
            there = self._source.header(ours.number)
            if there is not None and there.hash == ours.hash:
                return ours
        if cursor.irreversible is None:
            # Nothing that we know was irreversible: begin again below the first block that can matter.
            first = self._first_cursor()
            return first.block if first is not None and first.block.number <= cursor.block.number else None
        ground = common_ground(self._runner, self._source, cursor)
        self._halt(cursor, ground.number if ground is not None else 0)
        return None

    def _rewind(self, cursor: Cursor, ancestor: BlockHeader) -> Cursor:
        def lower(height: int | None) -> int | None:
            return None if height is None else min(height, ancestor.number)

        back = attrs.evolve(
            cursor,
            block=ancestor,
            heights=Heights(
                head=ancestor.number, safe=lower(cursor.heights.safe), finalized=lower(cursor.heights.finalized)
            ),
            fence=self._lease.fence,
            updated_at=self._ports.clock.now(),
        )
        self._apply([Rewind(cursor=back)])
        depth = cursor.block.number - ancestor.number
        self._ports.telemetry.count("reorgs", network=self._network.name, depth=str(depth))
        return back

    def _halt(self, cursor: Cursor, at_block: int) -> None:
        """Stop this network until a person resumes it: the chain contradicts what we called irreversible.

        Everything above ``at_block`` is in doubt.
        """
        now = self._ports.clock.now()
        halted = attrs.evolve(
            cursor,
            halt=Halt(reason="reorg_below_irreversible", at_block=at_block, since=now),
            event_seq=cursor.event_seq + 1,
            fence=self._lease.fence,
            updated_at=now,
        )
        event = _network_event(self._network, halted, self._ports.ids.new_id, now)
        self._apply([HaltChain(halted), Publish(event)])

    def _first_cursor(self) -> Cursor | None:
        """Begin one block before the first that can matter; None while there is nothing to watch."""
        contracts = self._runner.read(lambda unit: unit.contracts(self._network.chain_id))
        start = first_block(self._network, contracts)
        if start is None:
            return None
        before = self._source.header(max(start - 1, 0))
        if before is None:
            return None
        return Cursor(
            chain_id=self._network.chain_id,
            block=before,
            heights=Heights(head=before.number),
            fence=self._lease.fence,
            updated_at=self._ports.clock.now(),
        )

    def _window(self, cursor: Cursor) -> Sequence[BlockHeader]:
        stored = self._runner.read(lambda unit: unit.window(cursor.chain_id))
        return stored if any(h.number == cursor.block.number for h in stored) else [*stored, cursor.block]

    def _apply(self, decisions: Sequence[Decision]) -> None:
        self._runner.write(lambda unit: unit.apply(decisions))

    def _report(self, outcome: Outcome, *, blocks: int = 0, logs: int = 0, rewound: int = 0) -> ReadReport:
        return ReadReport(network=self._network.name, outcome=outcome, blocks=blocks, logs=logs, rewound=rewound)


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


def _network_event(network: Network, cursor: Cursor, new_id: Callable[[], str], now: datetime) -> Event:
    halt = cursor.halt
    return Event(
        event_id=new_id(),
        type=EventType.NETWORK_HALTED,
        aggregate=f"network:{network.name}",
        seq=cursor.event_seq,
        occurred_at=now,
        recorded_at=now,
        data={
            "network": network.name,
            "chain_id": network.chain_id,
            "reason": halt.reason if halt else "",
            "at_block": halt.at_block if halt else 0,
        },
    )
