"""Nodes that tell one thing everywhere, and what they tell cannot be: another one is read, and they are left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from attrs import frozen
from stall import Asked, open_stall

from evmbilling.testing.rpc_lies import Ask, Reply
from sampling import EVERYTHING

HUGE = "0x" + "f" * 64
FACTS = {"eth_getLogs", "eth_getTransactionReceipt", "eth_getBlockReceipts"}


@frozen
class Below(Asked):
    """Tell one thing of every block that is asked for by its number."""

    told: Any

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        del ask
        if method != "eth_getBlockByNumber" or not params[0].startswith("0x") or not reply.get("result"):
            return reply
        return {"result": None if self.told is None else reply["result"] | self.told}


@frozen
class Field(Asked):
    """Tell another value of one field of every log, of every block, or of the head alone, wherever it is told.

    A number is added to what is so.
    """

    of: str
    name: str
    value: object

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        del ask
        if not reply.get("result"):
            return reply
        if method == "eth_getBlockByNumber":
            meant = self.of == "block" or (self.of == "head" and params[0] == "latest")
            return {"result": reply["result"] | ({self.name: self.value} if meant else {})}
        return self._of_logs(reply["result"]) if self.of == "log" and method in FACTS else reply

    def _of_logs(self, result: Any) -> Reply:
        """A list of logs, a receipt, or a list of receipts."""
        for held in result if isinstance(result, list) else [result]:
            for log in held.get("logs", [held]):
                more = self.value
                log[self.name] = hex(int(log[self.name], 16) + more) if isinstance(more, int) else more
        return {"result": result}


@pytest.mark.parametrize(
    "told",
    [
        Field("log", "logIndex", 2**63),
        Field("log", "blockNumber", HUGE),
        Field("block", "timestamp", HUGE),
        Field("block", "timestamp", None),
        Field("block", "number", HUGE),
        Field("block", "parentHash", "0x" + "33" * 32),
        Field("head", "parentHash", None),
        Field("head", "hash", None),
    ],
    ids=lambda told: f"{told.of} {told.name}",
)
def test_what_cannot_be_is_left_for_another_node(
    anvil: Any, make_rpc_proxy: Any, open_database: Callable[..., Any], told: Field
) -> None:
    """A database holds places of 63 bits only, and a node that is believed for ever stops its network."""
    nodes = [make_rpc_proxy(seed=seed) for seed in (0, 1)]
    database = "sqlite" if EVERYTHING or isinstance(told.value, int) else "memory"
    with open_stall(anvil, nodes, open_storage=partial(open_database, database)) as stall:
        stall.settle()
        offer = stall.checkout()
        nodes[0].add(told)
        stall.pay(offer)
        outcomes = stall.settle(passes=4)
        assert stall.status(offer) == "confirmed", outcomes
        assert set(outcomes) <= {"chain_mismatch", "read", "idle"}
        (health,) = stall.engine.networks_health()
        assert [node.state for node in health.nodes] == ["set_aside", "ready"]
        assert stall.engine.verify().differences == ()


@pytest.mark.parametrize("told", [None, {"hash": None}, {"number": None}], ids=str)
@pytest.mark.parametrize("nodes", [2, 1])
def test_a_node_without_the_first_block_is_left_for_another_and_named_where_there_is_none(
    anvil: Any, make_rpc_proxy: Any, told: Any, nodes: int
) -> None:
    """Nothing was read before: the block where reading begins is asked for by its number."""
    proxies = [make_rpc_proxy(seed=seed) for seed in range(nodes)]
    with open_stall(anvil, proxies) as stall:
        proxies[0].add(Below(told))
        offer = stall.checkout()
        stall.pay(offer)
        outcomes = stall.settle(passes=4)
        assert outcomes[0] == "chain_mismatch"
        (health,) = stall.engine.networks_health()
        assert health.nodes[0].state == "set_aside"
        assert (stall.status(offer), "read" in outcomes) == (("confirmed", True) if nodes > 1 else ("pending", False))
        proxies[0].heal()
        stall.settle(passes=2)
        assert stall.status(offer) == "confirmed"
