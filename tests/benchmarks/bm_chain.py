"""A local chain full of transfers, and the answers of its node as bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import urllib3
from attrs import frozen

from evmbilling.adapters.evm.rpc.http import NodeHttp
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.emitter import Emitter

GAS_LIMIT = "3000000000"
FINAL = 4
"""Blocks that stand on the last one with logs: both tags have passed it."""


@frozen(kw_only=True)
class Shape:
    """How the logs stand in their blocks: so many transactions of so many logs in each."""

    name: str
    transactions: int
    logs: int

    @property
    def a_block(self) -> int:
        return self.transactions * self.logs


SINGLE = Shape(name="one transfer a transaction", transactions=193, logs=1)
BURST = Shape(name="97 transfers a transaction", transactions=10, logs=97)


@frozen(kw_only=True)
class Full:
    """A node and the blocks that hold the logs."""

    node: AnvilNode
    shape: Shape
    first: int
    last: int

    @property
    def logs(self) -> int:
        return (self.last - self.first + 1) * self.shape.a_block


@contextmanager
def full_chain(shape: Shape, logs: int, *, gas_limit: str = GAS_LIMIT) -> Iterator[Full]:
    """Start a node and fill it with so many logs."""
    with AnvilNode(arguments=("--gas-limit", gas_limit)) as node:
        first = node.block_number + 1
        last = Emitter(node).mine(-(-logs // shape.a_block), transactions=shape.transactions, logs=shape.logs)
        node.mine(FINAL)
        yield Full(node=node, shape=shape, first=first, last=last)


def open_source(url: str) -> EvmChainSource:
    return EvmChainSource(JsonRpc(chain_id=31337, urls=[url], timeout=60))


@contextmanager
def overheard() -> Iterator[list[bytes]]:
    """Keep the bodies of the requests that are made inside."""
    bodies: list[bytes] = []
    post = NodeHttp.post

    def heard(self: NodeHttp, body: bytes, *arguments: Any, **options: Any) -> Any:
        bodies.append(body)
        return post(self, body, *arguments, **options)

    NodeHttp.post = heard  # type: ignore[method-assign]  # it is heard, then put back
    try:
        yield bodies
    finally:
        NodeHttp.post = post  # type: ignore[method-assign]  # it is heard, then put back


def read_raw(url: str, bodies: list[bytes]) -> tuple[float, int]:
    """Ask the same again and only read the bytes: what the node can serve; return the seconds and the bytes."""
    pool = urllib3.PoolManager()
    headers = {"content-type": "application/json"}
    began, size = time.perf_counter(), 0
    for body in bodies:
        size += len(pool.request("POST", url, body=body, headers=headers).data)
    return time.perf_counter() - began, size
