"""A node that answers and refuses: others are read in its place, and what it gives is enough where it is alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen
from node_time import Open, Time
from stall import Asked, Stall

from evmbilling.adapters.evm.reading import near
from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.adapters.evm.transmitter import EvmTransmitter
from evmbilling.errors import RpcRefused
from evmbilling.testing.rpc_lies import DropLogs, Reply, RpcError
from evmbilling.testing.rpc_proxy import RpcProxy

MakeStall = Callable[..., Stall]
PAID = {"confirmed", "final"}
FAULTS = [
    RpcError(-32603, "internal error"),
    RpcError(-32601, "the method eth_getLogs does not exist/is not available"),
    RpcError(-32600, "eth_getLogs is not part of your plan"),
    RpcError(-32020, "no backend is currently healthy to serve traffic"),
]


@pytest.mark.fault("R11")
@pytest.mark.sampled(strength=2)
@pytest.mark.parametrize("method", ["eth_getLogs", "eth_getTransactionReceipt"])
@pytest.mark.parametrize("refusal", FAULTS, ids=lambda refusal: refusal.message)
@pytest.mark.parametrize("blocks", [3, 200], ids=["near", "far"])
def test_r11_a_node_that_refuses_what_is_needed_is_left_for_another(
    make_stall: MakeStall, refusal: RpcError, method: str, blocks: int
) -> None:
    stall = make_stall(0, 1)
    offer = stall.checkout()
    stall.settle(0)
    stall.pay(offer)
    stall.nodes[0].add(refusal, methods=[method])
    outcomes = stall.settle(blocks, passes=2)
    assert outcomes[0] == "read"
    assert stall.status(offer) in PAID
    assert [node.state for node in stall.rpc.health()] == ["set_aside", "ready"]


@pytest.mark.fault("R11")
def test_r11_when_every_node_refuses_it_is_said_and_read_later(make_stall: MakeStall) -> None:
    stall = make_stall(0, 1, 2)
    offer = stall.checkout()
    stall.pay(offer)
    for node in stall.nodes:
        node.add(RpcError(), methods=["eth_getLogs"])
    assert set(stall.settle(passes=3)) == {"rpc_refused"}
    assert max(node.methods().count("eth_getLogs") for node in stall.nodes) <= 6
    for node in stall.nodes:
        node.heal()
    stall.settle()
    assert stall.status(offer) == "confirmed"


def test_a_node_that_refuses_and_one_that_is_behind_are_not_asked_for_ever(
    make_rpc_proxy: Callable[..., RpcProxy], open_rpc: Open, time_: Time
) -> None:
    one, late = make_rpc_proxy(), make_rpc_proxy()
    one.behind("anvil_mine", "0x2")
    head = int(one.behind("eth_blockNumber"), 16)
    one.add(RpcError(), methods=["eth_getLogs"])
    late.add(_Head(head - 1), methods=["eth_blockNumber"])
    source = EvmChainSource(open_rpc(one, late))
    asked: list[str] = []

    def work(node: Any) -> None:
        asked.append(node.name)
        node.call("eth_getLogs", {})

    with pytest.raises(RpcRefused):
        source._ask_one(head, work)
    assert asked == ["node 1 of 2"] * len(asked)
    assert len(asked) <= 3


@frozen
class _Head:
    """A node that has come to a height."""

    height: int

    def instead(self, method: str, params: Any) -> Reply | None:
        del method, params
        return {"result": hex(self.height)}

    def change(self, method: str, params: Any, reply: Reply, ask: Any) -> Reply:
        del method, params, ask
        return reply


@pytest.mark.parametrize("refusal", FAULTS, ids=lambda refusal: refusal.message)
def test_receipts_that_are_not_given_together_are_asked_for_one_by_one(
    make_stall: MakeStall, refusal: RpcError
) -> None:
    stall = make_stall(0)
    offers = [stall.checkout(f"user-{n}", asset="ETH") for n in range(10)]
    stall.settle(0)
    for offer in offers:
        stall.pay(offer, mine=0)
    stall.nodes[0].add(refusal, methods=["eth_getBlockReceipts"])
    stall.settle()
    assert {stall.status(offer) for offer in offers} == {"confirmed"}
    assert "eth_getBlockReceipts" in stall.nodes[0].methods()


@frozen
class _FullBloom(Asked):
    """Blocks so full that their blooms admit everything."""

    def change(self, method: str, params: Any, reply: Reply, ask: Any) -> Reply:
        del method, params, ask
        return {"result": reply["result"] and reply["result"] | {"logsBloom": "0x" + "ff" * 256}}


def _fill(stall: Stall, blocks: int, each: int) -> None:
    for _ in range(blocks):
        for account in stall.anvil.accounts[1 : 1 + each]:
            stall.anvil.send({"from": account.address, "to": account.address, "gas": "0x5208"})
        stall.anvil.mine()


def test_full_blocks_do_not_have_the_only_node_asked_for_all_their_receipts(
    make_stall: MakeStall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "_MOST_RECEIPTS", 12)
    stall = make_stall(0)
    (node,) = stall.nodes
    stall.settle(0)
    node.add(_FullBloom(), methods=["eth_getBlockByNumber"])
    _fill(stall, 20, 3)
    node.forget()
    assert stall.read() == "read"
    assert stall.cursor == stall.anvil.block_number
    assert node.methods().count("eth_getBlockReceipts") == 2 * 4, "of the first eight blocks, and of the twelve others"


def test_a_single_full_block_without_logs_is_looked_at_whatever_it_holds(
    make_stall: MakeStall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near, "_MOST_RECEIPTS", 1)
    stall = make_stall(0)
    (node,) = stall.nodes
    offer = stall.checkout()
    stall.settle(0)
    stall.pay(offer, mine=0)
    _fill(stall, 1, 3)
    node.add(DropLogs(), methods=["eth_getLogs"])
    assert stall.read() == "chain_mismatch"
    assert stall.status(offer) == "pending"


SENDING = [
    ("already known", "known"),
    ("ALREADY_EXISTS: already known", "known"),
    ("Known transaction", "known"),
    ("transaction already in mempool", "known"),
    ("unknown transaction type", "refused"),
    ("nonce too low: next nonce 5, tx nonce 4", "nonce_used"),
    ("ERR_NONCE_TOO_LOW", "nonce_used"),
    ("nonce 7 already used", "nonce_used"),
    ("replacement transaction underpriced", "underpriced"),
    ("FeeTooLow, MaxFeePerGas too low", "underpriced"),
    ("ReplacementNotAllowed", "underpriced"),
    ("insufficient funds for gas * price + value", "refused"),
    ("execution reverted: already known", "refused"),
]


@pytest.mark.fault("R19")
@pytest.mark.parametrize(
    ("words", "meaning", "in_data"),
    [(*case, False) for case in SENDING] + [(*case, True) for case in SENDING if case[1] != "refused"],
)
def test_r19_what_a_node_says_of_a_transaction_is_sorted_as_every_refusal_is(
    make_rpc_proxy: Callable[..., RpcProxy], open_rpc: Open, words: str, meaning: str, *, in_data: bool
) -> None:
    node = make_rpc_proxy()
    refusal = RpcError(-32000, "rejected", {"reason": words}) if in_data else RpcError(-32000, words)
    node.add(refusal, methods=["eth_sendRawTransaction"])
    rpc: JsonRpc = open_rpc(node)
    assert EvmTransmitter(rpc, signer_for=_nobody).send(b"\x02") == meaning


def _nobody(_: Any) -> Any:
    raise AssertionError("nothing is signed")
