from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from relay_bench import Relay

from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock


@pytest.fixture
def url(request, databases) -> Iterator[str]:
    """A migrated database: SQLite, or what a test names (``both``)."""
    with databases.lend(getattr(request, "param", "sqlite")) as url:
        yield url


@pytest.fixture
def open_relay(anvil: AnvilNode, url: str) -> Iterator[Callable[..., Relay]]:
    clock = FrozenClock(datetime.now(UTC))
    opened: list[Relay] = []

    def make(**options: bool) -> Relay:
        opened.append(Relay(anvil, url, clock, fresh=not opened, **options))
        return opened[-1]

    yield make
    for relay in opened:
        relay.close()


@pytest.fixture
def relay(open_relay) -> Relay:
    return open_relay()
