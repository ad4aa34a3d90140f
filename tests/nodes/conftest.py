from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Any

import pytest
from node_time import Open, Time
from stall import Counts, Stall

from evmbilling.adapters.evm.rpc import JsonRpc
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.factory import BillingEngine
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.clock import FrozenClock
from evmbilling.testing.merchant import anvil_merchant, repeatable_secrets
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
    """Opens a merchant on ``anvil`` whose nodes are so many proxies."""
    with ExitStack() as stack:

        def make(*seeds: int, **network: Any) -> Stall:
            nodes = [make_rpc_proxy(seed=seed) for seed in seeds or (0,)]
            clock, counts = FrozenClock(datetime.now(UTC)), Counts()
            storage = MemoryStorage(clock)
            engine = stack.enter_context(
                closing(BillingEngine(storage=storage, clock=clock, secrets=repeatable_secrets(), telemetry=counts))
            )
            merchant = anvil_merchant(engine, anvil)
            stall = Stall(
                anvil=anvil,
                engine=engine,
                clock=clock,
                merchant=merchant,
                nodes=nodes,
                counts=counts,
                storage=storage,
            )
            stall.change(**({"rpc_urls": [node.url for node in nodes], "rpc_retries": 1, "rpc_timeout": 1} | network))
            return stall

        yield make
