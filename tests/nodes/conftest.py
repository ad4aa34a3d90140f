from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from node_time import Open, Time

from evmbilling.adapters.evm.rpc import JsonRpc
from evmbilling.testing.rpc_proxy import RpcProxy


@pytest.fixture
def time_() -> Time:
    return Time()


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
