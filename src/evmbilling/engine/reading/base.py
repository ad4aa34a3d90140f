"""What every pass over a network shares: its lease, its source, what is watched, how evidence is written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Literal

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Heights, Network
from evmbilling.domain.decisions import Decision, HaltChain, Publish, RecordEvidence
from evmbilling.domain.identity import RENEWED
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.payments.treasury import Treasury
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, Cursor, Halt, Lease, Tip, WatchSet
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.block_times import check_times
from evmbilling.engine.reading.heights import heights_at
from evmbilling.engine.reading.treasury_watch import Watch
from evmbilling.errors import ChainMismatch, RetryTransaction
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.nodes import DoubtedNodes
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.reader")
LEASE_SECONDS = 30
Outcome = Literal["read", "idle", "busy", "behind", "halted", "nothing_to_watch"]
Progress = Callable[[int, int], None]
"""Told the last block that was written, and the block where the call will end."""


@frozen(kw_only=True)
class ReadReport:
    """What one call of the reader did.

    Attributes:
        outcome: ``busy`` another worker holds the lease; ``behind`` the node is behind what we have read;
            ``halted`` a reorg went below the irreversible height.
        blocks, logs: how many were recorded.
        rewound: how many blocks were taken back.
        rescanned: how many blocks were read again.

    """

    network: str
    outcome: Outcome
    blocks: int = 0
    logs: int = 0
    rewound: int = 0
    rescanned: int = 0


@frozen(kw_only=True)
class Sight:
    """What is watched at one time, and how the provider reads it.

    Attributes:
        asked: what the source is asked for; :meth:`keep` says what of it is evidence.

    """

    asked: WatchSet
    _watch: Watch
    _provider: Provider

    def keep(self, logs: Sequence[ChainLog]) -> Sequence[ChainLog]:
        """Return the logs that are evidence."""
        return self._watch.keep(self._provider, logs)

    def covers(self, treasuries: Sequence[Treasury]) -> bool:
        """Whether all of these were asked for."""
        return {treasury.address for treasury in treasuries} <= {t.address for t in self._watch.treasuries}


@contextmanager
def reading(ports: Ports, chain_id: int) -> Iterator[Lease | None]:
    """Hold the right to write a network's evidence; None when another worker, or another thread of this one, has it."""
    with held_alone(ports, f"reader:{chain_id}") as lease:
        yield lease


@contextmanager
def held_alone(ports: Ports, name: str, seconds: int = LEASE_SECONDS) -> Iterator[Lease | None]:
    """Hold a lease for the block; None when another worker, or another thread of this one, has it."""
    with ports.claims.taken(name) as free:
        lease = ports.storage.acquire_lease(name, ports.worker, seconds) if free else None
        try:
            yield lease
        finally:
            if lease is not None:
                ports.storage.release_lease(lease)


class ReaderWork:
    """One pass over one network under a lease."""

    def __init__(
        self,
        ports: Ports,
        runner: Runner,
        *,
        network: Network,
        provider: Provider,
        lease: Lease,
        progress: Progress | None = None,
    ) -> None:
        self.ports = ports
        self.runner = runner
        self.network = network
        self.provider = provider
        self.source: ChainSource = provider.chain(network)
        self._lease = lease
        self._progress = progress
        self._former: bool | None = None
        self._last: Sight | None = None
        self._hasty: BlockHeader | None = None

    @property
    def fence(self) -> int:
        """The number of the lease."""
        return self._lease.fence

    def sight(self) -> Sight:
        """Return what is watched now.

        It is read after the head: a contract that was saved before a block was mined is in it.
        """
        return self._sight(self.runner.read(lambda unit: Watch.load(unit, self.network.chain_id)))

    def sight_and_window(self, cursor: Cursor) -> tuple[Sight, Sequence[BlockHeader]]:
        """Return what is watched now and the headers that are held, in one look."""
        watch, stored = self.runner.read(
            lambda unit: (Watch.load(unit, self.network.chain_id), unit.window(cursor.chain_id))
        )
        return self._sight(watch), _with_tip(stored, cursor)

    def _sight(self, watch: Watch) -> Sight:
        asked = watch.ask(self.provider)
        if asked.by_reference and not self._has_former_orders():
            asked = attrs.evolve(asked, reference_prefix=self.ports.storage.instance_id())
        self._last = Sight(asked=asked, watch=watch, provider=self.provider)
        return self._last

    def _has_former_orders(self) -> bool:
        """Whether this is a copy of another instance, whose references the orders of before have; they are credited."""
        if self._former is None:
            self._former = bool(self.runner.read(lambda unit: unit.audit(object_=RENEWED, limit=1)))
        return self._former

    def still_ours(self) -> bool:
        """Renew the lease when a third of its time has gone by; False when another worker has taken it meanwhile.

        What is written carries the fence, so this only spares work.
        """
        left = self._lease.until - self.ports.clock.now()
        if timedelta(seconds=LEASE_SECONDS * 2 / 3) <= left <= timedelta(seconds=LEASE_SECONDS):
            return True
        renewed = self.ports.storage.acquire_lease(self._lease.name, self._lease.owner, LEASE_SECONDS)
        if renewed is None or renewed.fence != self._lease.fence:
            return False
        self._lease = renewed
        return True

    def window(self, cursor: Cursor) -> Sequence[BlockHeader]:
        """Return the headers that are held."""
        return _with_tip(self.runner.read(lambda unit: unit.window(cursor.chain_id)), cursor)

    def check_times(
        self, headers: Sequence[BlockHeader], logs: Sequence[ChainLog] = (), changed: Sequence[ChainLog] = ()
    ) -> None:
        """Check the times of what is to be written; those of ``changed`` logs differ from what is stored.

        Raises:
            ChainMismatch: one cannot be believed, and no second node tells the same.

        """
        check_times(self.ports, self.network, self.provider, headers, logs, changed=changed)

    def contradiction(self, text: str) -> ChainMismatch:
        """Return what to raise where answers do not fit what was read before; others are asked before that node then.

        A node that says the same again would be read for ever otherwise, beside one that is right.
        """
        if isinstance(self.provider, DoubtedNodes):
            self.provider.doubt_node(self.network, text)
        return ChainMismatch(text, chain_id=self.network.chain_id)

    def heights(self, block: BlockHeader, cursor: Cursor, tip: Tip, known: Sequence[BlockHeader] = ()) -> Heights:
        """Return the heights behind a block; ``known`` are blocks of the same chain.

        Raises:
            ChainMismatch: the node gives a name to a block that is not on its own chain.

        """
        try:
            return heights_at(block, cursor, tip, known)
        except ChainMismatch as contradiction:
            text = contradiction.message
        raise self.contradiction(text)

    def record(self, evidence: RecordEvidence, before: BlockHeader, *, durable: bool) -> bool:
        """Write evidence; False, and nothing is written, when a treasury is watched by now that was not asked for.

        It is accounted for from behind the stored cursor on: these very blocks are asked for again.

        Args:
            before: the last block that was read before.
            durable: False where more follows at once: what a loss of power takes back is read again.

        Raises:
            RetryTransaction: the database does not stand at ``before`` any more.

        """
        after = evidence.cursor

        def write(unit: Unit) -> bool:
            if self._last is not None and not self._last.covers(unit.treasuries(after.chain_id)):
                return False
            if not durable or self._hasty is not None:
                _stands_at(unit, after.chain_id, before)
            unit.apply([evidence])
            return True

        written = self.runner.write(write, durable=durable)
        if written:
            self._hasty = None if durable else after.block
        return written

    def apply(self, decisions: Sequence[Decision]) -> None:
        """Write decisions in one transaction.

        Raises:
            RetryTransaction: the database lost what was written before, and did not need to be durable.

        """

        def write(unit: Unit) -> None:
            if self._hasty is not None:
                _stands_at(unit, self.network.chain_id, self._hasty)
            unit.apply(decisions)

        self.runner.write(write)
        self._hasty = None

    def tell(self, block: int, end: int) -> None:
        """Tell whoever wants to know how far it is."""
        if self._progress is not None:
            self._progress(block, end)

    def halt(self, cursor: Cursor, at_block: int) -> Cursor:
        """Stop this network until a person resumes it: the chain contradicts what we called irreversible.

        Everything above ``at_block`` is in doubt.
        """
        now = self.ports.clock.now()
        halted = attrs.evolve(
            cursor,
            halt=Halt(reason="reorg_below_irreversible", at_block=at_block, since=now),
            event_seq=cursor.event_seq + 1,
            fence=self.fence,
            updated_at=now,
        )
        event = _network_event(self.network, halted, self.ports.ids.new_id, now)
        self.apply([HaltChain(halted), Publish(event)])
        facts = {"network": self.network.name, "block": cursor.block.number, "reason": "reorg_below_irreversible"}
        _log.error("the network stands still until a person resumes it", extra=facts)
        return halted


def _stands_at(unit: Unit, chain_id: int, block: BlockHeader) -> None:
    """Make sure that the database still has what was written before; a server that crashed may have lost it.

    This program lives on then, connects again, and would write behind a gap that nobody reads again. What a pass finds
    when it begins is on the disk: its lease was committed durably before.

    Raises:
        RetryTransaction: it has lost it. The next call of the reader begins where the stored cursor stands.

    """
    stored = unit.cursor(chain_id)
    if stored is None or stored.block.hash != block.hash:
        raise RetryTransaction("the database lost the blocks that were written last: they are read again")


def _with_tip(stored: Sequence[BlockHeader], cursor: Cursor) -> Sequence[BlockHeader]:
    return stored if any(h.number == cursor.block.number for h in stored) else [*stored, cursor.block]


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
