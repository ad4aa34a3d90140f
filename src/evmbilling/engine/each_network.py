"""Work that goes network by network: the trouble of one delays no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from evmbilling.domain.identity import parse_slug
from evmbilling.domain.reading.evidence import Cursor
from evmbilling.engine.context import Ports
from evmbilling.errors import UnknownNetwork
from evmbilling.ports.storage import Unit

T = TypeVar("T")


@contextmanager
def each_network(ports: Ports) -> Iterator[Callable[[Callable[[], T]], T | None]]:
    """Give a way to try work: what it raises is raised when everything has been tried, the first of it."""
    failed: list[Exception] = []

    def attempt(work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception as error:  # noqa: BLE001  - whatever is wrong with one network, the others go on
            ports.telemetry.count("network_failed", reason=getattr(error, "code", type(error).__name__))
            failed.append(error)
            return None

    yield attempt
    if failed:
        raise failed[0]


def cursors_of(unit: Unit, network: str | None) -> Sequence[Cursor]:
    """Return how far every chain has been read, or the one of a network.

    Raises:
        UnknownNetwork: there is no such network.

    """
    if network is None:
        return unit.cursors()
    found = unit.network(parse_slug(network, field="network"))
    if found is None:
        raise UnknownNetwork(f"there is no network {network}", field="network")
    cursor = unit.cursor(found.chain_id)
    return [] if cursor is None else [cursor]
