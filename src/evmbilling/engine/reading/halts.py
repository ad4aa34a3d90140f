"""Networks that stand still: what each of them is doing, and how a person lets one go on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs
from attrs import field, frozen

from evmbilling.domain.actors import Role
from evmbilling.domain.catalogue.catalogue import Heights, Network
from evmbilling.domain.decisions import Publish, RecordAudit, RecordEvidence, Rewind
from evmbilling.domain.identity import parse_hash
from evmbilling.domain.messages.events import AuditEntry, Event, EventType
from evmbilling.domain.reading.evidence import BlockHeader, Cursor, Lease
from evmbilling.domain.selling.availability import Unavailable, lag_of, unavailable
from evmbilling.engine.admin.base import AdminBase
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.base import reading
from evmbilling.engine.reading.ground import common_ground
from evmbilling.engine.reading.reader import first_block, network_and_provider
from evmbilling.engine.refunds.proofs import looked_for_again
from evmbilling.errors import ChainMismatch, Conflict, RequestInProgress
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.reader")
MOST_PARKED = 10_000


@frozen(kw_only=True)
class NetworkStatus:
    """How far a network has been read, and what stands in its way.

    Attributes:
        cursor: the last block read with its heights, and the halt with its reason; None before the first block.
        lag: how old that block is. ``unavailable`` is why nothing new is sold there; None when it is.
        contested: while it is halted, the block that was irreversible and is no longer there; a person names the hash
            that stands at its height now.
        parked: movements that wait for a person or for another try, by reason.

    """

    network: Network
    cursor: Cursor | None
    lag: timedelta | None
    unavailable: Unavailable | None
    parked: Mapping[str, int] = field(factory=dict)

    @property
    def contested(self) -> BlockHeader | None:
        """The block whose height a person decides about; None unless it is halted."""
        return contested(self.cursor) if self.cursor is not None else None


@frozen(kw_only=True)
class Resumed:
    """That a network goes on.

    Attributes:
        accepted: the block that a person named.
        ancestor: the last block that both branches have; reading goes on above it.
        rewound: how many blocks of ours are read again.

    """

    network: str
    accepted: BlockHeader
    ancestor: BlockHeader
    rewound: int


class ReaderDesk(AdminBase):
    """What a person sees of the readers, and how a halted network goes on, for one actor.

    Looking needs ``finance_ops`` or ``billing_admin``, resuming ``billing_admin`` (PermissionDenied otherwise).
    """

    def status(self) -> Sequence[NetworkStatus]:
        """Return how every network in use stands, by name. No node is asked."""
        now = self._ports.clock.now()
        return self._read_only(lambda unit: _statuses(unit, now))

    def resume(self, network: str, *, accept: str) -> Resumed:
        """Let a halted network go on upon the branch that a person has looked at.

        Reading goes on above the last block that both branches have. Money that was disputed is judged from the chain
        as it is read again: where its payment is there it counts as before, where it is not it is reversed, and books,
        access and quota follow.

        Args:
            network: the name.
            accept: the hash (``0x`` and 64 hex digits) of the block that is now at the height of the contested one,
                from a source that the person believes. The node has to agree.

        Raises:
            UnknownNetwork: there is no such network.
            InputError: ``accept`` is no hash.
            Conflict: the network is not halted; or another block is at that height, and ``details`` name it.
            RequestInProgress: a worker is at this network in this moment; try again.
            ProviderError: no node answered, or what it says does not fit together.

        """
        self._actor.require(Role.BILLING_ADMIN)
        wanted = parse_hash(accept, field="accept")
        found, provider = self._runner.read(lambda unit: network_and_provider(self._ports, unit, network))
        with reading(self._ports, found.chain_id) as lease:
            if lease is None:
                raise RequestInProgress("a worker is at this network in this moment", field="network")
            source = provider.chain(found)
            source.check_chain()
            return _Resumption(self._ports, self._runner, found, source, lease).run(wanted, self._actor.user_id)


class _Resumption:
    """One halted network, under its lease."""

    def __init__(self, ports: Ports, runner: Runner, network: Network, source: ChainSource, lease: Lease) -> None:
        self._ports = ports
        self._runner = runner
        self._network = network
        self._source = source
        self._lease = lease

    def run(self, wanted: bytes, actor: str) -> Resumed:
        cursor = self._runner.read(lambda unit: unit.cursor(self._network.chain_id))
        ours = contested(cursor) if cursor is not None else None
        if cursor is None or ours is None:
            raise Conflict("this network is not halted", field="network")
        accepted = self._source.header(ours.number)
        if accepted is None:
            raise ChainMismatch(f"the node has no block {ours.number} yet", network=self._network.name)
        if accepted.hash != wanted:
            raise Conflict(
                "the node has another block at that height",
                field="accept",
                block=ours.number,
                canonical="0x" + accepted.hash.hex(),
            )
        ancestor = self._ancestor(cursor)
        self._runner.write(lambda unit: self._go_on(unit, cursor, accepted, ancestor, actor))
        self._ports.telemetry.count("networks_resumed", network=self._network.name)
        facts = {"network": self._network.name, "block": accepted.number, "actor": actor}
        _log.info("a person lets the network go on", extra=facts)
        rewound = cursor.block.number - ancestor.number
        return Resumed(network=self._network.name, accepted=accepted, ancestor=ancestor, rewound=rewound)

    def _ancestor(self, cursor: Cursor) -> BlockHeader:
        """Return the block above which everything is read again: at or below where the doubt began."""
        ground = common_ground(self._runner, self._source, cursor)
        if ground is not None and cursor.halt is not None:
            height = min(ground.number, cursor.halt.at_block)
        else:
            begin = first_block(self._network, self._runner.read(lambda unit: unit.contracts(cursor.chain_id)))
            height = min(max((begin or 0) - 1, 0), cursor.block.number)
        header = ground if ground is not None and ground.number == height else self._source.header(height)
        if header is None:
            raise ChainMismatch(f"the node has no block {height}", network=self._network.name)
        return header

    def _go_on(self, unit: Unit, cursor: Cursor, accepted: BlockHeader, ancestor: BlockHeader, actor: str) -> None:
        now = self._ports.clock.now()

        def lower(height: int | None) -> int | None:
            return None if height is None else min(height, ancestor.number)

        back = attrs.evolve(
            cursor,
            block=ancestor,
            heights=Heights(
                head=ancestor.number, safe=lower(cursor.heights.safe), finalized=lower(cursor.heights.finalized)
            ),
            irreversible=ancestor,
            halt=None,
            fence=self._lease.fence,
            event_seq=cursor.event_seq + 1,
            updated_at=now,
        )
        facts = {
            "network": self._network.name,
            "chain_id": self._network.chain_id,
            "accepted": "0x" + accepted.hash.hex(),
            "block": accepted.number,
            "read_from": ancestor.number + 1,
        }
        unit.apply(
            [
                Rewind(cursor=back),
                # The block under the first that is read again is part of the window: the next reorg may reach it.
                RecordEvidence(cursor=back, headers=(ancestor,), logs=(), keep_from=ancestor.number),
                Publish(self._event(facts, back.event_seq, now)),
                RecordAudit(self._audit(facts, actor, now)),
                *looked_for_again(unit, cursor.chain_id, ancestor.number, now),
            ]
        )

    def _event(self, facts: dict[str, object], seq: int, now: datetime) -> Event:
        return Event(
            event_id=self._ports.ids.new_id(),
            type=EventType.NETWORK_RESUMED,
            aggregate=f"network:{self._network.name}",
            seq=seq,
            occurred_at=now,
            recorded_at=now,
            data=facts,
        )

    def _audit(self, facts: dict[str, object], actor: str, now: datetime) -> AuditEntry:
        return AuditEntry(
            audit_id=self._ports.ids.new_id(),
            actor=actor,
            action="network.resume",
            object=f"network:{self._network.name}",
            changes=facts,
            recorded_at=now,
        )


def contested(cursor: Cursor) -> BlockHeader | None:
    """Return the block of ours that the chain contradicts: the highest that was irreversible; None when not halted."""
    return None if cursor.halt is None else cursor.irreversible or cursor.block


def _statuses(unit: Unit, now: datetime) -> Sequence[NetworkStatus]:
    parked: dict[int, Counter[str]] = {}
    for item in unit.parked_items(MOST_PARKED):
        parked.setdefault(item.identity.chain_id, Counter())[item.reason or ""] += 1
    cursors = {cursor.chain_id: cursor for cursor in unit.cursors()}
    return [
        NetworkStatus(
            network=network,
            cursor=cursors.get(network.chain_id),
            lag=lag_of(cursors[network.chain_id], now) if network.chain_id in cursors else None,
            unavailable=unavailable(network, cursors.get(network.chain_id), now),
            parked=dict(sorted(parked.get(network.chain_id, {}).items())),
        )
        for network in unit.networks()
        if network.archived_at is None
    ]
