from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from node_time import Open, Time
from stall import Stall, open_stall

from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.testing.anvil import AnvilNode
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


MakeStall = Callable[..., Stall]


@pytest.fixture
def make_stall(anvil: AnvilNode, make_rpc_proxy: Callable[..., RpcProxy]) -> Iterator[MakeStall]:
    """Opens a merchant on ``anvil`` whose nodes are proxies with these seeds."""
    with ExitStack() as stack:

        def make(*seeds: int, **network: Any) -> Stall:
            nodes = [make_rpc_proxy(seed=seed) for seed in seeds or (0,)]
            return stack.enter_context(open_stall(anvil, nodes, **network))

        yield make
