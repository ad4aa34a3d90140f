from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from evmbilling.adapters.evm.rpc import JsonRpc
from evmbilling.testing.rpc_proxy import RpcProxy


class Time:
    """A clock that moves when somebody sleeps or a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time_() -> Time:
    return Time()


Open = Callable[..., JsonRpc]


@pytest.fixture
def open_rpc(time_: Time) -> Iterator[Open]:
    """Makes a pool over proxies (or urls), whose time is ``time_``."""
    with ExitStack() as stack:

        def make(*nodes: RpcProxy | str, **options: Any) -> JsonRpc:
            urls = [node if isinstance(node, str) else node.url for node in nodes]
            values = {
                "chain_id": 31337,
                "urls": urls,
                "timeout": 2,
                "attempts": 1,
                "clock": time_,
                "sleep": time_.sleep,
            }
            return stack.enter_context(closing(JsonRpc(**(values | options))))

        yield make
