"""What an operator and a monitor ask: how much there is and waits, and whether somebody does the work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.identity import parse_opaque, parse_slug
from evmbilling.domain.reading.evidence import Cursor
from evmbilling.domain.reading.watching import SIGN_OF_LIFE, Depth, Figures, NetworkFigures
from evmbilling.domain.selling.deposits import DepositState
from evmbilling.engine.admin.readers import many
from evmbilling.engine.books.sealing import LAG
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.requests import parse_count
from evmbilling.engine.watching.money import business
from evmbilling.ports.storage import Unit
from evmbilling.ports.telemetry import Telemetry

BEAT_SECONDS = 60
"""How long a sign of life lasts; workers leave one every ten seconds."""


class Watch:
    """Figures and signs of life. Nothing here decides anything, and no node is asked."""

    def __init__(self, ports: Ports, runner: Runner) -> None:
        self._ports = ports
        self._runner = runner

    @property
    def telemetry(self) -> Telemetry:
        """Who is told counts."""
        return self._ports.telemetry

    def now(self) -> datetime:
        """Return this process's clock."""
        return self._ports.clock.now()

    def alive(self) -> frozenset[str]:
        """Return the worker's steps that somebody does at the moment; cheaper than ``figures().alive()``."""
        now = self._ports.storage.now()
        return Figures(now=now, clock=now, leases=tuple(self._ports.storage.leases())).alive()

    def figures(self) -> Figures:
        """Count everything, in one transaction. It reads whole tables: for a scrape, not for a request of a user."""
        leases, database = tuple(self._ports.storage.leases()), self._ports.storage.now()
        clock = self._ports.clock.now()
        before = None if self._ports.seal_key is None else clock - LAG
        return self._runner.read(
            lambda unit: Figures(
                now=database,
                clock=clock,
                subscriptions=unit.subscriptions_by_plan(),
                orders=unit.orders_by_status(),
                outbox=unit.outbox_depth(),
                queue=unit.queue_depths(),
                deliveries=unit.delivery_depths(),
                deposits=_deposits(unit),
                unsealed=None if before is None else unit.unsealed_before(before),
                networks=tuple(_networks(unit)),
                leases=leases,
                business=business(unit, clock),
            )
        )

    def beat(self, steps: Iterable[str], *, seconds: int = BEAT_SECONDS, owner: str | None = None) -> None:
        """Leave a sign of life for these worker's steps. One of many workers is enough.

        Args:
            steps: their names.
            seconds: how long it lasts.
            owner: who renews it: processes that take turns at a step have one name for it; this process when left out.

        Raises:
            InputError: a step's name is no slug; ``seconds`` is no count, or ``owner`` no name.

        """
        lasts = parse_count(seconds, field="seconds")
        who = self._ports.worker if owner is None else parse_opaque(owner, field="owner")
        for step in _names(steps):
            self._ports.storage.acquire_lease(SIGN_OF_LIFE + step, who, lasts)

    def rest(self, steps: Iterable[str]) -> None:
        """Take the signs of life of this process back.

        Raises:
            InputError: a step's name is no slug.

        """
        ours = {SIGN_OF_LIFE + step for step in _names(steps)}
        for lease in self._ports.storage.leases():
            if lease.name in ours and lease.owner == self._ports.worker:
                self._ports.storage.release_lease(lease)


def _names(steps: object) -> Sequence[str]:
    found: Sequence[str] = many("steps", lambda name: parse_slug(name, field="steps"))(steps)
    return found


def _deposits(unit: Unit) -> dict[tuple[str, DepositState], Depth]:
    """Return how many addresses hold something on each network, archived ones too: what is there is somebody's."""
    names = {network.chain_id: network.name for network in unit.networks()}
    return {(names.get(chain, str(chain)), state): depth for (chain, state), depth in unit.deposit_depths().items()}


def _networks(unit: Unit) -> Iterator[NetworkFigures]:
    for network in unit.networks():
        if network.archived_at is None:
            yield _network(network, unit.cursor(network.chain_id))


def _network(network: Network, cursor: Cursor | None) -> NetworkFigures:
    halt = None if cursor is None else cursor.halt
    return NetworkFigures(
        network=network.name,
        chain_id=network.chain_id,
        head=None if cursor is None else cursor.heights.head,
        block=None if cursor is None else cursor.block.number,
        block_time=None if cursor is None else cursor.block.timestamp,
        finalized=None if cursor is None else cursor.heights.finalized,
        irreversible_after=network.irreversible_after,
        halted=None if halt is None else halt.reason,
    )
