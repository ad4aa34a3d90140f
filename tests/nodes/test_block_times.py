"""A node whose blocks are years ahead: no order expires by its word, and no payment becomes late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from stall import Asked, Stall

from evmbilling.testing.rpc_breaks import HttpStatus
from evmbilling.testing.rpc_lies import Lag, Null

MakeStall = Callable[..., Stall]
YEAR_9999 = 253_402_300_000


class Ahead(Asked):
    """Tell of blocks from a height on that they are at a time; nothing else contradicts it."""

    def __init__(self, first: int, timestamp: int = YEAR_9999, *, two_faced: bool = False) -> None:
        self._first, self._timestamp, self._two_faced = first, timestamp, two_faced
        self._told: dict[str, int] = {}

    def change(self, method: str, params: Any, reply: dict[str, Any], ask: Any) -> dict[str, Any]:
        block = reply.get("result")
        if method != "eth_getBlockByNumber" or block is None or int(block["number"], 16) < self._first:
            return reply
        times = self._told[block["number"]] = self._told.get(block["number"], 0) + 1
        if self._two_faced and times % 2 == 0:
            return reply
        return {"result": block | {"timestamp": hex(self._timestamp + int(block["number"], 16))}}


class Shifted(Asked):
    """Tell of blocks up to a height that they were later than they were; their hashes stay."""

    def __init__(self, last: int, seconds: int) -> None:
        self._last, self._seconds = last, seconds

    def change(self, method: str, params: Any, reply: dict[str, Any], ask: Any) -> dict[str, Any]:
        block = reply.get("result")
        if method != "eth_getBlockByNumber" or block is None or int(block["number"], 16) > self._last:
            return reply
        return {"result": block | {"timestamp": hex(int(block["timestamp"], 16) + self._seconds)}}


def ahead_from_here(stall: Stall, *nodes: int, **lie: Any) -> None:
    for node in nodes:
        stall.nodes[node].add(Ahead(stall.anvil.block_number + 1, **lie))


@pytest.mark.fault("C17")
@pytest.mark.fault("R15")
def test_c17_r15_a_first_node_in_the_year_9999_expires_nothing_and_is_set_aside(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1, testnet=False)
    unpaid, offer = stall.checkout("user-2"), stall.checkout()
    stall.settle(1)
    ahead_from_here(stall, 0)
    stall.pay(offer)
    outcomes = stall.settle()
    assert outcomes[0] == "chain_mismatch"
    assert (stall.status(offer), stall.status(unpaid)) == ("confirmed", "pending")
    assert stall.rpc.health()[0].state == "set_aside"


@pytest.mark.fault("C17")
@pytest.mark.fault("R15")
@pytest.mark.parametrize("second", [None, HttpStatus(500), Lag(50), Null()], ids=repr)
def test_c17_r15_nothing_is_read_by_one_nodes_word_and_read_when_it_tells_the_truth(
    make_stall: MakeStall, second: Any
) -> None:
    stall = make_stall(0, *([] if second is None else [1]), testnet=False)
    offer = stall.checkout()
    stall.settle(1)
    before = stall.cursor
    ahead_from_here(stall, 0)
    if second is not None:
        stall.nodes[1].add(second)
    stall.pay(offer)
    assert set(stall.settle()) <= {"chain_mismatch", "rpc_unavailable"}
    assert (stall.cursor, stall.status(offer)) == (before, "pending")
    for node in stall.nodes:
        node.heal()
    stall.settle()
    assert stall.status(offer) == "confirmed"


@pytest.mark.fault("C17")
def test_c17_a_time_that_two_nodes_tell_is_believed_against_both_clocks(make_stall: MakeStall) -> None:
    """Our own clocks may be what is wrong: that stops no network."""
    stall = make_stall(0, 1, testnet=False)
    stall.settle(1)
    offer = stall.checkout()
    hours = int(stall.clock.now().timestamp()) + 7200
    ahead_from_here(stall, 0, 1, timestamp=hours)
    stall.anvil.mine(3)
    assert stall.engine.read_chain(stall.name).outcome == "read"
    stall.engine.expire_orders()
    assert stall.status(offer) == "expired"


@pytest.mark.fault("C17")
@pytest.mark.parametrize(("minutes", "is_asked"), [(1, False), (59, True)])
def test_c17_a_second_node_is_asked_where_the_skew_of_clocks_explains_nothing(
    make_stall: MakeStall, minutes: int, is_asked: bool
) -> None:
    stall = make_stall(0, 1, testnet=False)
    stall.settle(1)
    stall.nodes[1].forget()
    stall.anvil.mine(3)
    latest = int(stall.anvil.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    stall.clock.set(datetime.fromtimestamp(latest, UTC) - timedelta(minutes=minutes))
    assert stall.engine.read_chain(stall.name).outcome == "read"
    assert bool(stall.nodes[1].asked) == is_asked


@pytest.mark.fault("C17")
@pytest.mark.parametrize(("nodes", "status"), [(1, "expired"), (2, "confirmed")])
def test_c17_within_the_hour_one_node_is_believed_only_where_it_is_the_only_one(
    make_stall: MakeStall, nodes: int, status: str
) -> None:
    stall = make_stall(*range(nodes), testnet=False)
    stall.settle(1)
    offer = stall.checkout()
    late = int(stall.clock.now().timestamp()) + 59 * 60 - stall.anvil.block_number - 9
    ahead_from_here(stall, 0, timestamp=late)
    stall.pay(offer)
    stall.settle()
    assert stall.status(offer) == status
    if nodes > 1:
        assert stall.rpc.health()[0].state == "set_aside"


@pytest.mark.fault("C17")
@pytest.mark.fault("R15")
def test_c17_r15_a_node_that_takes_its_time_back_as_a_witness_is_set_aside_too(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1, testnet=False)
    offer = stall.checkout()
    stall.settle(1)
    ahead_from_here(stall, 0, two_faced=True)
    stall.pay(offer)
    assert stall.settle()[0] == "chain_mismatch"
    assert stall.status(offer) == "confirmed"
    assert stall.rpc.health()[0].state == "set_aside"


@pytest.mark.fault("C17")
def test_c17_a_block_that_is_stored_has_no_other_time_when_it_is_read_again(make_stall: MakeStall) -> None:
    """By its later time the payment would be late."""
    stall = make_stall(0, 1, testnet=False)
    offer = stall.checkout()
    stall.settle(1)
    stall.pay(offer)
    stall.settle()
    paid = stall.anvil.block_number
    stall.anvil.increase_time(2 * 86_400)
    stall.settle()
    stall.nodes[0].add(Shifted(paid, 86_400))
    stall.engine.rescan(stall.name, 1)
    assert stall.settle()[0] == "chain_mismatch"
    assert stall.status(offer) == "confirmed"
    assert stall.rpc.health()[0].state == "set_aside"


@pytest.mark.fault("C17")
def test_c17_the_first_block_and_blocks_below_the_line_are_looked_at_too(make_stall: MakeStall) -> None:
    stall = make_stall(0, testnet=False)
    stall.nodes[0].add(Ahead(0))
    assert set(stall.settle(1, passes=2)) == {"chain_mismatch"}
    stall.nodes[0].heal()
    stall.settle(1)
    before = stall.cursor
    ahead_from_here(stall, 0)
    stall.anvil.mine(200)
    assert set(stall.settle(1, passes=2)) == {"chain_mismatch"}
    assert stall.cursor - before < 200
