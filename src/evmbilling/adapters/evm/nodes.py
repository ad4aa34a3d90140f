"""The networks that a provider reads: one pool of nodes each, shared by everything that asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

from evmbilling.adapters.evm.reading.witness import count_agreeing, witness_time
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.reading.nodes import NodeHealth
from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import BillingError, ConfigurationError
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.nodes import TimeVerdict
from evmbilling.ports.telemetry import Telemetry

Reserve = Callable[[Network], Sequence[SecretRef]]
"""Gives the urls of nodes that are asked when none of a network's own answers."""


class EvmNodes:
    """Chain sources by network (port :class:`evmbilling.ports.nodes.Nodes`). Safe for threads.

    Args:
        reveal: gives the value behind a secret reference; called for the urls of a network when it is first read.
        sources: makes the chain source of a network, in place of one over its urls.
        reserve: called when no node of a network answers.
        telemetry: told what happens to nodes.

    """

    def __init__(
        self,
        *,
        reveal: Callable[[SecretRef], str],
        sources: Callable[[Network], ChainSource] | None = None,
        reserve: Reserve | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._reveal, self._reserve, self._telemetry = reveal, reserve, telemetry
        self._make_source = sources or self._open
        self._sources: dict[int, tuple[Network, ChainSource]] = {}
        self._lock = threading.Lock()

    def chain(self, network: Network) -> ChainSource:
        """Return the shared source for a network; a changed network gets a new one.

        Raises:
            ConfigurationError: a url is absent or unusable.

        """
        with self._lock:
            known, source = self._sources.get(network.chain_id, (None, None))
            if source is not None and known == network:
                return source
            fresh = self._make_source(network)
            self._sources[network.chain_id] = (network, fresh)
        if source is not None:
            source.close()
        return fresh

    def elsewhere(self, network: Network) -> ChainSource:
        """Return a source that asks other nodes than the one in use, where there are others. Do not close it."""
        source = self.chain(network)
        if not isinstance(source, EvmChainSource):
            return source
        others = source.rpc.elsewhere()
        return source if others is source.rpc else EvmChainSource(others)

    def node_health(self, network: Network) -> Sequence[NodeHealth]:
        """Return every node of a network in the order of preference; none when its source has no nodes.

        Raises:
            ConfigurationError: a url is absent or unusable.

        """
        source = self.chain(network)
        return source.rpc.health() if isinstance(source, EvmChainSource) else ()

    def agreeing(self, network: Network, log: ChainLog, *, wanted: int) -> int:
        """Return how many nodes show this very log in a successful receipt of that block; at most ``wanted``.

        Raises:
            ConfigurationError: a url is absent or unusable.

        """
        source = self.chain(network)
        if isinstance(source, EvmChainSource):
            return count_agreeing(source.rpc, log, wanted)
        header = source.header(log.block_number)
        return int(header is not None and header.hash == log.block_hash)

    def witness_time(self, network: Network, number: int, block_hash: bytes, timestamp: datetime) -> TimeVerdict:
        """Ask every node for the time of this block; whoever told one that others contradict is set aside.

        Raises:
            ConfigurationError: a url is absent or unusable.

        """
        source = self.chain(network)
        if not isinstance(source, EvmChainSource):
            return "alone"
        return witness_time(source.rpc, number, block_hash, timestamp)

    def doubt_node(self, network: Network, reason: str) -> None:
        """Ask the node in use after all others for a while: what it told last contradicts what was read before.

        Raises:
            ConfigurationError: a url is absent or unusable.

        """
        source = self.chain(network)
        if isinstance(source, EvmChainSource):
            source.rpc.set_aside_current(reason)

    def close(self) -> None:
        """Let go of connections."""
        with self._lock:
            sources, self._sources = list(self._sources.values()), {}
        for _, source in sources:
            source.close()

    def _open(self, network: Network) -> ChainSource:
        return EvmChainSource(
            JsonRpc(
                chain_id=network.chain_id,
                urls=[self._reveal(ref) for ref in network.rpc_urls],
                reserve=partial(self._reserve_urls, network) if self._reserve is not None else None,
                timeout=network.rpc_timeout,
                attempts=max(1, network.rpc_retries),
                tell=partial(self._tell, network.name),
                measure=partial(self._measure, network.name),
            )
        )

    def _reserve_urls(self, network: Network) -> list[str]:
        """Return what can be used of the reserve: it is the last resort, and must not be another trouble."""
        found: list[str] = []
        with suppress(BillingError):
            for ref in self._reserve(network) if self._reserve is not None else ():
                with suppress(ConfigurationError):
                    found.append(self._reveal(ref))
        return found

    def _tell(self, network: str, word: str, node: str, reason: str) -> None:
        if self._telemetry is not None:
            self._telemetry.count(word, network=network, node=node, reason=reason)

    def _measure(self, network: str, node: str, calls: int, seconds: float, answered: bool) -> None:
        if self._telemetry is None:
            return
        self._telemetry.count("rpc_calls", calls, network=network, node=node)
        self._telemetry.count("rpc_milliseconds", round(seconds * 1000), network=network, node=node)
        if not answered:
            self._telemetry.count("rpc_errors", network=network, node=node)
