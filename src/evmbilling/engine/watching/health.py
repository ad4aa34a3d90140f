"""How networks and their nodes are: what a person or a monitor looks at first."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.reading.evidence import Cursor
from evmbilling.domain.reading.nodes import NetworkHealth, NodeHealth
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.errors import BillingError
from evmbilling.ports.nodes import Nodes
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

_USABLE = ("ready", "limited")

Known = tuple[Network, Provider, Cursor | None]


def networks_health(ports: Ports, runner: Runner) -> tuple[NetworkHealth, ...]:
    """Return every network that is not archived; see :meth:`evmbilling.engine.core.Engine.networks_health`."""
    return tuple(_health(*known) for known in runner.read(lambda unit: _load(ports, unit)))


def _load(ports: Ports, unit: Unit) -> Sequence[Known]:
    live = [network for network in unit.networks() if network.archived_at is None]
    return [(*network_and_provider(ports, unit, network.name), unit.cursor(network.chain_id)) for network in live]


def _health(network: Network, provider: Provider, cursor: Cursor | None) -> NetworkHealth:
    nodes = _nodes(network, provider)
    head = max((node.head for node in nodes if node.head is not None and node.state in _USABLE), default=None)
    read = None if cursor is None else cursor.block.number
    heights = None if cursor is None else cursor.heights
    final = None if heights is None else heights.finalized
    return NetworkHealth(
        network=network.name,
        chain_id=network.chain_id,
        head=head,
        read=read,
        read_at=None if cursor is None else cursor.updated_at,
        read_time=None if cursor is None else cursor.block.timestamp,
        behind=None if head is None or read is None else max(head - read, 0),
        finality_lag=None if heights is None or final is None else heights.head - final,
        halted=cursor.halt.reason if cursor is not None and cursor.halt is not None else None,
        nodes=nodes,
    )


def _nodes(network: Network, provider: Provider) -> tuple[NodeHealth, ...]:
    if not isinstance(provider, Nodes):
        return ()
    try:
        return tuple(provider.node_health(network))
    except BillingError:
        return ()  # its urls cannot be read: that is said where the network is used
