"""Nodes whose answers fit together and not what was read before: others are read in their place, for a while."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import frozen
from stall import Asked, Stall

from evmbilling.testing.rpc_lies import Ask, Censor, FreezeTag, Reply

MakeStall = Callable[..., Stall]
ELSEWHERE = "0x" + "33" * 32


@frozen
class OtherHash(Asked):
    """Tell another hash, or another parent, of the block that is asked for under a name, or as many below the head."""

    name: str
    field: str
    below: int | None = None

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        if method != "eth_getBlockByNumber" or params[0] != self.name:
            return reply
        told = reply["result"]
        if self.below is not None:
            told = ask(method, hex(int(ask("eth_blockNumber"), 16) - self.below), False)
        return {"result": told | {self.field: ELSEWHERE}}


@frozen
class SameHash(Asked):
    """Tell one hash for every block."""

    def change(self, method: str, params: Sequence[Any], reply: Reply, ask: Ask) -> Reply:
        del params, ask
        is_block = method == "eth_getBlockByNumber" and reply.get("result")
        return {"result": reply["result"] | {"hash": ELSEWHERE}} if is_block else reply


def states(stall: Stall) -> list[str]:
    (health,) = stall.engine.networks_health()
    return [node.state for node in health.nodes]


def test_a_head_that_is_no_child_of_the_last_block_read_is_another_nodes_to_tell(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1)
    stall.settle()
    stall.nodes[0].add(OtherHash("latest", "parentHash"))
    for outcome in ("chain_mismatch", "read", "read"):
        stall.anvil.mine()
        assert stall.read() == outcome
    assert stall.cursor == stall.anvil.block_number
    assert states(stall) == ["set_aside", "ready"]


@pytest.mark.parametrize("tag", ["safe", "finalized"])
@pytest.mark.parametrize("below", [0, 2, 7])
def test_a_tag_on_another_chain_than_the_nodes_own_is_another_nodes_to_tell(
    make_stall: MakeStall, tag: str, below: int
) -> None:
    """Whether that block is read now or was read before, its number alone makes nothing final."""
    stall = make_stall(0, 1)
    stall.settle(6)
    offer = stall.checkout()
    stall.pay(offer)
    stall.nodes[0].add(OtherHash(tag, "hash", below))
    outcomes = stall.settle(8, passes=4)
    assert outcomes[:2] == ["chain_mismatch", "read"]
    assert states(stall) == ["set_aside", "ready"]
    assert stall.engine.verify().differences == ()


def test_a_range_that_does_not_follow_is_another_nodes_to_tell(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1)
    stall.settle()
    stall.nodes[0].add(OtherHash(hex(stall.cursor + 1), "parentHash"))
    offer = stall.checkout()
    stall.pay(offer)
    assert stall.settle(120, passes=3) == ["chain_mismatch", "read", "idle"]
    assert stall.status(offer) == "final"
    assert states(stall) == ["set_aside", "ready"]


@pytest.mark.parametrize("far", [False, True])
def test_a_node_with_one_hash_for_every_block_halts_nothing(make_stall: MakeStall, far: bool) -> None:
    """Its head fits what it says of our blocks, none of which it has: as where final blocks changed."""
    stall = make_stall(0, 1)
    stall.settle(100 if far else 30)
    stall.nodes[0].add(SameHash())
    offer = stall.checkout()
    stall.pay(offer)
    assert "halted" not in stall.settle(100 if far else 3, passes=4)
    assert stall.status(offer) in ("confirmed", "final")
    assert states(stall) == ["set_aside", "ready"]


@pytest.mark.fault("R17")
def test_r17_a_log_that_is_left_out_when_read_again_is_another_nodes_to_tell(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1)
    offer = stall.checkout("user-1")
    stall.pay(offer)
    stall.settle()
    stall.nodes[0].add(Censor(stall.payer("user-1")))
    stall.engine.rescan(stall.name, 1)
    assert [stall.read() for _ in range(3)] == ["chain_mismatch", "read", "idle"]
    assert stall.status(offer) == "confirmed"
    assert states(stall) == ["set_aside", "ready"]


@pytest.mark.fault("C07")
def test_c07_a_tag_beyond_the_head_makes_nothing_final(make_stall: MakeStall) -> None:
    """Behind one url a late node tells the head, and one that is further the tag: it may be on another branch."""
    stall = make_stall(0, credit_after="finalized", irreversible_after="finalized")
    stall.settle(6)
    (node,) = stall.nodes
    offer = stall.checkout()
    stall.pay(offer)
    late = node.add(FreezeTag("latest", stall.anvil.block_number))
    stall.settle(5, passes=2)
    assert stall.cursor == stall.anvil.block_number - 5
    assert stall.status(offer) == "confirming"
    node.remove(late)
    stall.settle(1)
    assert stall.status(offer) == "final"
