"""The fault proxy does what it says, seen by a client that believes everything."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from evmbilling.errors import ConfigurationError, RpcRefused, RpcUnavailable
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.deploy import deploy_token
from evmbilling.testing.rpc import JsonRpc
from evmbilling.testing.rpc_breaks import Close, Deep, Drip, Hang, HttpStatus, Huge, LoseReply, html
from evmbilling.testing.rpc_lies import (
    Cap,
    Censor,
    DropLogs,
    Duplicate,
    FreezeTag,
    InventLog,
    Lag,
    Null,
    OldState,
    RangeCap,
    RpcError,
    Truncate,
    WrongChain,
    no_transaction,
    removed,
    stale_block_hash,
)
from evmbilling.testing.rpc_proxy import Delay, RpcProxy

ALICE, BOB = "0x" + "a1" * 20, "0x" + "b0" * 20


def client_of(proxy: RpcProxy, timeout: float = 5) -> JsonRpc:
    return JsonRpc(proxy.url, timeout=timeout)


def raw_post(proxy: RpcProxy, body: Any, seconds: float = 5) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(proxy.url.rsplit(":", 1)[1].strip("/")), timeout=seconds)
    try:
        connection.request("POST", "/", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read(4 << 20)
    finally:
        connection.close()


CALL = {"jsonrpc": "2.0", "id": 9, "method": "eth_chainId", "params": []}


@pytest.fixture
def minted(anvil: AnvilNode) -> dict[str, Any]:
    """Three transfers: two to Alice in one block, one to Bob in the next."""
    token = deploy_token(anvil, decimals=6)
    owner = anvil.accounts[0].address
    for holder in (ALICE, ALICE):
        anvil.send({"from": owner, "to": token.address, "data": mint(holder), "gas": "0x30d40"})
    anvil.mine()
    anvil.send({"from": owner, "to": token.address, "data": mint(BOB), "gas": "0x30d40"})
    anvil.mine()
    return {"fromBlock": "0x0", "toBlock": hex(anvil.block_number), "address": token.address}


def mint(holder: str) -> str:
    return "0x40c10f19" + holder[2:].rjust(64, "0") + f"{7:064x}"


def test_without_rules_it_is_the_node(anvil: AnvilNode, rpc_proxy: RpcProxy) -> None:
    client = client_of(rpc_proxy)
    assert client.call("eth_chainId") == hex(anvil.chain_id)
    assert client.call("eth_getBlockByNumber", "latest", False) == anvil.block()
    with pytest.raises(RpcRefused) as refused:
        client.call("eth_getLogs", {"blockHash": "0x" + "00" * 32})
    assert refused.value.details["rpc_code"] == -32000
    batch = [CALL, CALL | {"id": "b", "method": "eth_blockNumber"}]
    assert json.loads(raw_post(rpc_proxy, batch)[2]) == [
        {"jsonrpc": "2.0", "id": 9, "result": hex(anvil.chain_id)},
        {"jsonrpc": "2.0", "id": "b", "result": hex(anvil.block_number)},
    ]
    assert rpc_proxy.methods()[-2:] == ["eth_chainId", "eth_blockNumber"]
    client.close()


def test_rules_choose_by_method_by_count_and_by_chance(make_rpc_proxy: Callable[..., RpcProxy]) -> None:
    def refused_by(seed: int) -> tuple[list[bool], list[bool], list[bool]]:
        node = make_rpc_proxy(seed=seed)
        node.add(RpcError(message="first"), methods=["eth_chainId"], first=2)
        node.add(RpcError(message="later"), methods=["eth_gasPrice"], after=2, first=1)
        node.add(RpcError(message="chance"), methods=["eth_blockNumber"], probability=0.5)
        client = client_of(node)

        def refused(method: str) -> bool:
            try:
                client.call(method)
            except RpcRefused:
                return True
            return False

        methods = ("eth_chainId", "eth_gasPrice", "eth_blockNumber")
        found = tuple([refused(method) for _ in range(4 if method != "eth_blockNumber" else 30)] for method in methods)
        client.close()
        return found  # type: ignore[return-value]  # three of them

    one, again, other = refused_by(1), refused_by(1), refused_by(2)
    assert one[0] == [True, True, False, False]
    assert one[1] == [False, False, True, False]
    assert 5 < sum(one[2]) < 25
    assert one == again
    assert one != other


def test_what_happened_to_a_call_is_written_down_and_forgotten(rpc_proxy: RpcProxy) -> None:
    rule = rpc_proxy.add(Null(), methods=["eth_getTransactionReceipt"])
    client = client_of(rpc_proxy)
    assert client.call("eth_getTransactionReceipt", "0x" + "00" * 32) is None
    assert [(call.method, call.faults) for call in rpc_proxy.asked] == [("eth_getTransactionReceipt", ("Null",))]
    assert rule.met == 1
    rpc_proxy.forget()
    rpc_proxy.remove(rule)
    client.call("eth_chainId")
    assert [call.faults for call in rpc_proxy.asked] == [()]
    client.close()


@pytest.mark.parametrize(
    ("fault", "reached"),
    [
        (Close(), False),
        (Close(midway=True), True),
        (LoseReply(), True),
        (Hang(), False),
        (Drip(1), True),
        (HttpStatus(429, headers={"retry-after": "3"}), False),
        (html(402), False),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_connections_fail_as_told(anvil: AnvilNode, rpc_proxy: RpcProxy, fault: Any, reached: bool) -> None:
    rule = rpc_proxy.add(fault, methods=["eth_sendTransaction"])
    client = client_of(rpc_proxy, timeout=0.4)
    before = anvil.rpc("txpool_status")["pending"]
    payer = anvil.accounts[1].address
    with pytest.raises(RpcUnavailable):
        client.call("eth_sendTransaction", {"from": payer, "to": ALICE, "value": "0x1"})
    assert (anvil.rpc("txpool_status")["pending"] != before) == reached
    assert rule.met == 1
    assert client.call("eth_chainId") == hex(anvil.chain_id)
    client.close()
    anvil.drop_all()


def test_an_http_status_brings_its_body_and_headers(rpc_proxy: RpcProxy) -> None:
    rpc_proxy.add(HttpStatus(429, b"slow down", {"Retry-After": "3"}), first=1)
    status, headers, body = raw_post(rpc_proxy, CALL)
    assert (status, headers["retry-after"], body) == (429, "3", b"slow down")
    assert raw_post(rpc_proxy, CALL)[0] == 200


@pytest.mark.parametrize("declared", [True, False])
def test_a_huge_answer_is_as_huge_as_told(rpc_proxy: RpcProxy, declared: bool) -> None:
    rpc_proxy.add(Huge(size=3 << 20, declared=declared))
    status, headers, body = raw_post(rpc_proxy, CALL)
    assert (status, len(body)) == (200, 3 << 20)
    assert headers.get("content-length") == (str(3 << 20) if declared else None)


def test_a_deep_answer_is_as_deep_as_told_and_has_the_right_id(rpc_proxy: RpcProxy) -> None:
    rpc_proxy.add(Deep(depth=50_000))
    _, _, body = raw_post(rpc_proxy, CALL)
    assert body == b'{"jsonrpc":"2.0","id":9,"result":' + b"[" * 50_000 + b"]" * 50_000 + b"}"


def test_a_delay_lets_the_answer_through(rpc_proxy: RpcProxy) -> None:
    rpc_proxy.add(Delay(0.2), first=1)
    began = time.monotonic()
    assert raw_post(rpc_proxy, CALL)[0] == 200
    assert time.monotonic() - began >= 0.2


def test_a_proxy_that_stopped_refuses_and_lets_go_of_what_hangs(rpc_proxy: RpcProxy) -> None:
    rpc_proxy.add(Hang(), methods=["eth_chainId"])
    failed: list[Exception] = []

    def ask() -> None:
        try:
            raw_post(rpc_proxy, CALL, 90)
        except (OSError, http.client.HTTPException) as error:
            failed.append(error)

    hanging = threading.Thread(target=ask)
    hanging.start()
    while not rpc_proxy.asked:
        time.sleep(0.01)
    url = rpc_proxy.url
    rpc_proxy.stop()
    hanging.join(60)
    assert not hanging.is_alive()
    assert len(failed) == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1].strip("/"))))
    rpc_proxy.heal()
    rpc_proxy.start()
    assert rpc_proxy.url == url
    assert raw_post(rpc_proxy, CALL)[0] == 200


def test_a_proxy_that_was_never_started_has_no_url() -> None:
    with pytest.raises(ConfigurationError):
        _ = RpcProxy("http://127.0.0.1:9").url


def test_an_idle_connection_does_not_outlive_a_stop(rpc_proxy: RpcProxy) -> None:
    client = client_of(rpc_proxy)
    client.call("eth_chainId")
    rpc_proxy.stop()
    with pytest.raises(RpcUnavailable):
        client.call("eth_chainId")
    client.close()


# (lie, what becomes of the three logs, as (blocks from the end, kept fields) …)
def logs_told(proxy: RpcProxy, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    client = client_of(proxy)
    try:
        found: list[dict[str, Any]] = client.call("eth_getLogs", wanted)
    finally:
        client.close()
    return found


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (DropLogs(), []),
        (DropLogs(last_blocks=1), [0, 1]),
        (Truncate(1), [0, 1]),
        (Cap(2), [0, 1]),
        (Cap(3), [0, 1, 2]),
        (Duplicate(), [0, 1, 2, 0, 1, 2]),
        (Lag(1), [0, 1]),
        (Censor(ALICE), [2]),
        (Censor(BOB), [0, 1]),
    ],
    ids=repr,
)
def test_lists_of_logs_are_changed_as_told(
    anvil: AnvilNode, rpc_proxy: RpcProxy, minted: dict[str, Any], lie: Any, told: list[int]
) -> None:
    true = anvil.rpc("eth_getLogs", minted)
    assert len(true) == 3
    rpc_proxy.add(lie)
    assert logs_told(rpc_proxy, minted) == [true[at] for at in told]


def test_logs_are_spoilt_as_told(rpc_proxy: RpcProxy, minted: dict[str, Any]) -> None:
    rpc_proxy.add(removed())
    rpc_proxy.add(stale_block_hash("0x" + "5a" * 32))
    rpc_proxy.add(no_transaction())
    for log in logs_told(rpc_proxy, minted):
        assert log["removed"] is True
        assert log["blockHash"] == "0x" + "5a" * 32
        assert log["transactionHash"] is None


def test_caps_refuse_in_the_words_they_are_given(anvil: AnvilNode, rpc_proxy: RpcProxy, minted: dict[str, Any]) -> None:
    rpc_proxy.add(RangeCap(2))
    rpc_proxy.add(Cap(1, RpcError(-32005, "query returned more than 1 results")))
    with pytest.raises(RpcRefused, match="exceed maximum block range: 2"):
        logs_told(rpc_proxy, minted)
    head = anvil.block_number
    with pytest.raises(RpcRefused, match="query returned more than 1 results"):
        logs_told(rpc_proxy, minted | {"fromBlock": hex(head - 1)})
    assert len(logs_told(rpc_proxy, minted | {"fromBlock": hex(head)})) == 1


def test_a_node_behind_knows_nothing_later(anvil: AnvilNode, rpc_proxy: RpcProxy, minted: dict[str, Any]) -> None:
    head = anvil.block_number
    last = anvil.block(head)
    assert last is not None
    rpc_proxy.add(Lag(1))
    client = client_of(rpc_proxy)
    assert client.call("eth_blockNumber") == hex(head - 1)
    assert client.call("eth_getBlockByNumber", "latest", False)["number"] == hex(head - 1)
    assert client.call("eth_getBlockByNumber", "finalized", False)["number"] == hex(head - 2)
    assert client.call("eth_getBlockByNumber", hex(head), False) is None
    assert client.call("eth_getBlockByHash", last["hash"], False) is None
    assert client.call("eth_getTransactionReceipt", last["transactions"][0]) is None
    with pytest.raises(RpcRefused, match="unknown block"):
        client.call("eth_getLogs", {"blockHash": last["hash"]})
    held = {"to": minted["address"], "data": "0x70a08231" + BOB[2:].rjust(64, "0")}
    assert int(client.call("eth_call", held, "latest"), 16) == 0
    with pytest.raises(RpcRefused, match="header not found"):
        client.call("eth_call", held, hex(head))
    rpc_proxy.heal()
    assert int(client.call("eth_call", held, "latest"), 16) == 7
    rpc_proxy.add(OldState(head - 1))
    assert int(client.call("eth_call", held, "latest"), 16) == 0
    client.close()


def test_a_tag_stands_still_and_a_chain_is_another(anvil: AnvilNode, rpc_proxy: RpcProxy) -> None:
    anvil.mine(5)
    rpc_proxy.add(FreezeTag("finalized", 1))
    rpc_proxy.add(WrongChain(137))
    client = client_of(rpc_proxy)
    assert client.call("eth_getBlockByNumber", "finalized", False)["number"] == "0x1"
    assert client.call("eth_getBlockByNumber", "latest", False)["number"] == hex(anvil.block_number)
    assert (client.call("eth_chainId"), client.call("net_version")) == ("0x89", "137")
    rpc_proxy.add(FreezeTag("latest", 2))
    assert client.call("eth_blockNumber") == "0x2"
    client.close()


def test_a_censor_hides_an_address_everywhere(anvil: AnvilNode, rpc_proxy: RpcProxy, minted: dict[str, Any]) -> None:
    (_, _, bobs) = anvil.rpc("eth_getLogs", minted)
    rpc_proxy.add(Censor(BOB))
    client = client_of(rpc_proxy)
    assert client.call("eth_getTransactionReceipt", bobs["transactionHash"])["logs"] == []
    block = client.call("eth_getBlockByHash", bobs["blockHash"], False)
    assert int(block["logsBloom"], 16) == 0
    other = client.call("eth_getBlockByNumber", hex(int(bobs["blockNumber"], 16) - 1), False)
    assert other == anvil.block(int(bobs["blockNumber"], 16) - 1)  # a bloom that was counted again is the same
    client.close()


def test_an_invented_log_is_told_wherever_it_belongs(
    anvil: AnvilNode, rpc_proxy: RpcProxy, minted: dict[str, Any]
) -> None:
    head = anvil.block_number
    topics = ("0x" + "dd" * 32, "0x" + ALICE[2:].rjust(64, "0"))
    rpc_proxy.add(InventLog(head, minted["address"], topics, "0x" + "00" * 32, tx_hash="0x" + "77" * 32))
    block = anvil.block(head)
    assert block is not None
    by_hash = {"blockHash": block["hash"], "address": [minted["address"]], "topics": [[topics[0]]]}
    (told,) = logs_told(rpc_proxy, by_hash)
    assert told["transactionHash"] == "0x" + "77" * 32
    assert len(logs_told(rpc_proxy, minted)) == 4
    assert len(logs_told(rpc_proxy, minted | {"toBlock": hex(head - 1)})) == 2
    assert logs_told(rpc_proxy, by_hash | {"topics": [None, ["0x" + "01" * 32]]}) == []
    assert logs_told(rpc_proxy, by_hash | {"address": BOB}) == []
    client = client_of(rpc_proxy)
    receipt = client.call("eth_getTransactionReceipt", told["transactionHash"])
    assert (receipt["status"], receipt["logs"], receipt["blockHash"]) == ("0x1", [told], block["hash"])
    assert client.call("eth_getBlockByNumber", hex(head), False)["logsBloom"] == "0x" + "ff" * 256
    client.close()


def test_a_refusal_of_the_node_behind_passes_through_a_lie(anvil: AnvilNode, rpc_proxy: RpcProxy) -> None:
    rpc_proxy.add(OldState(99_999_999))
    client = client_of(rpc_proxy)
    with pytest.raises(RpcRefused) as refused:
        client.call("eth_getBalance", ALICE, "latest")
    assert refused.value.details["rpc_code"] < 0
    client.close()


def test_one_bad_call_spoils_its_whole_batch_only_when_the_connection_fails(rpc_proxy: RpcProxy) -> None:
    rpc_proxy.add(RpcError(message="no"), methods=["eth_gasPrice"])
    batch = [CALL, CALL | {"id": 2, "method": "eth_gasPrice"}]
    told = json.loads(raw_post(rpc_proxy, batch)[2])
    assert ["error" in reply for reply in told] == [False, True]
    rpc_proxy.add(HttpStatus(502), methods=["eth_gasPrice"])
    assert raw_post(rpc_proxy, batch)[0] == 502
