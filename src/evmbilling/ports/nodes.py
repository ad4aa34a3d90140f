"""What a provider can tell about the nodes behind a network, beyond what one of them says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.reading.nodes import NodeHealth
from evmbilling.ports.chain import ChainSource

TimeVerdict = Literal["agreed", "contradicted", "alone"]
"""Of a time that one node told: two nodes tell it; others tell another one; nobody else speaks."""


@runtime_checkable
class Nodes(Protocol):
    """A provider that reads a network through several nodes. A provider need not have it."""

    def node_health(self, network: Network) -> Sequence[NodeHealth]:
        """Return every node of a network in the order of preference. Asks nobody."""
        ...

    def agreeing(self, network: Network, log: ChainLog, *, wanted: int) -> int:
        """Return how many nodes show this very log in a successful receipt of that block; at most ``wanted``.

        A node that does not answer is not counted, and no error.
        """
        ...

    def elsewhere(self, network: Network) -> ChainSource:
        """Return a source that asks other nodes than the one in use, where there are others. Do not close it."""
        ...


@runtime_checkable
class TimeWitnesses(Protocol):
    """A provider that can ask several nodes for the time of a block. A provider need not have it."""

    def witness_time(self, network: Network, number: int, block_hash: bytes, timestamp: datetime) -> TimeVerdict:
        """Ask every node for the time of this block. Whoever told one that others contradict is set aside.

        A node that does not answer, or does not have the block yet, says nothing, and is no error.
        """
        ...


@runtime_checkable
class DoubtedNodes(Protocol):
    """A provider that can ask others in place of a node whose answers do not fit. A provider need not have it."""

    def doubt_node(self, network: Network, reason: str) -> None:
        """Ask the node in use after all others for a while: what it told last contradicts what was read of it before.

        Args:
            network: which it serves.
            reason: words of ours, not the node's.

        """
        ...
