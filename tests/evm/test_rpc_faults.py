"""JSON-RPC to nodes that are silent, slow, huge, wrong, or elsewhere."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from evm_servers import each, ok, raw_server, scripted

from evmbilling.adapters.evm.rpc.refusals import RefusalKind, refusal_of
from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.errors import BillingError, ConfigurationError, RpcRefused, RpcUnavailable, WrongChain
from evmbilling.ports.network_guard import assert_network_allowed, no_network
from evmbilling.testing.anvil import AnvilNode


def make_rpc(*urls: str, chain_id: int = 31337, **options: Any) -> JsonRpc:
    return JsonRpc(**({"chain_id": chain_id, "urls": urls, "timeout": 2, "attempts": 1} | options))


def good(method: str, params: list[Any]) -> Any:
    return {"eth_chainId": "0x7a69", "eth_blockNumber": "0x10"}.get(method, params)


@pytest.mark.fault("R10")
def test_r10_wrong_chain_is_refused_at_first_use(anvil: AnvilNode) -> None:
    rpc = make_rpc(anvil.url, chain_id=1)
    with contextlib.closing(rpc), pytest.raises(WrongChain) as caught:
        rpc.call("eth_blockNumber")
    assert caught.value.details == {"chain_id": 1, "served": 31337}


@pytest.mark.fault("R10")
def test_r10_chain_that_changes_is_noticed_by_asking_and_within_a_minute(anvil: AnvilNode) -> None:
    now = [0.0]
    rpc = make_rpc(anvil.url, clock=lambda: now[0])
    with contextlib.closing(rpc):
        rpc.call("eth_blockNumber")
        anvil.set_chain_id(137)
        rpc.call("eth_blockNumber")
        with pytest.raises(WrongChain):
            rpc.check_chain()
        with pytest.raises(WrongChain):  # a node that failed the check is asked again before anything else
            rpc.call("eth_blockNumber")
        anvil.set_chain_id(31337)
        rpc.call("eth_blockNumber")
        anvil.set_chain_id(137)
        now[0] += 61
        with pytest.raises(WrongChain):
            rpc.call("eth_blockNumber")


@pytest.mark.fault("R10")
def test_r10_node_that_takes_over_is_checked(anvil: AnvilNode) -> None:
    alive = [True]

    def first(body: Any) -> Any:
        return each(good)(body) if alive[0] else (500, b"")

    with scripted(first) as one, scripted(each(lambda m, p: "0x89" if m == "eth_chainId" else good(m, p))) as other:
        rpc = make_rpc(one.url, other.url)
        with contextlib.closing(rpc):
            rpc.call("eth_blockNumber")
            assert other.requests == []
            alive[0] = False
            with pytest.raises(WrongChain, match="node 2 of 2 serves chain 137"):
                rpc.call("eth_blockNumber")
            assert other.calls() == ["eth_chainId"]


@pytest.mark.fault("R10")
def test_r10_node_that_was_away_is_checked_when_it_is_back() -> None:
    served, status = ["0x7a69"], [200]

    def answer(body: Any) -> Any:
        given = each(lambda m, p: served[0] if m == "eth_chainId" else good(m, p))(body)
        return given if status[0] == 200 else (502, b"")

    with scripted(answer) as node:
        rpc = make_rpc(node.url)
        with contextlib.closing(rpc):
            rpc.call("eth_blockNumber")
            status[0] = 502
            with pytest.raises(RpcUnavailable):
                rpc.call("eth_blockNumber")
            status[0], served[0] = 200, "0x89"
            with pytest.raises(WrongChain):
                rpc.call("eth_blockNumber")


def test_a_dead_node_is_passed_over_and_preferred_again_after_a_minute(anvil: AnvilNode) -> None:
    alive, now = [True], [0.0]

    def first(body: Any) -> Any:
        return each(good)(body) if alive[0] else (503, b"<html>down</html>")

    with scripted(first) as one, scripted(each(good)) as other:
        rpc = make_rpc(one.url, other.url, clock=lambda: now[0])
        with contextlib.closing(rpc):
            alive[0] = False
            assert json.loads(bytes(rpc.call("echo", 1))) == [1]
            asked = len(one.requests)
            rpc.call("echo")
            assert len(one.requests) == asked  # the one that answered stays in use
            alive[0] = True
            now[0] += 61
            rpc.call("echo")
            assert one.calls()[-2:] == ["eth_chainId", "echo"]


def test_retries_are_bounded_paused_and_only_for_silence() -> None:
    pauses: list[float] = []
    with scripted(lambda _: (502, b"")) as dead:
        rpc = make_rpc(dead.url, attempts=4, sleep=pauses.append)
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable) as caught:
            rpc.call("eth_blockNumber")
        assert len(dead.requests) == 4
        assert pauses == [0.1, 0.2, 0.4]
        assert caught.value.retry_safe
    refusals = {"eth_chainId": "0x7a69"}
    with scripted(each(lambda m, _: refusals.get(m, ValueError(-32000, "no such thing")))) as node:
        rpc = make_rpc(node.url, attempts=4, sleep=pauses.append)
        with contextlib.closing(rpc), pytest.raises(RpcRefused, match="eth_call: no such thing") as refused:
            rpc.call("eth_call")
        assert node.calls() == ["eth_chainId", "eth_call"]
        assert refused.value.details == {"method": "eth_call", "rpc_code": -32000, "data": None}


@pytest.mark.fault("R12")
def test_r12_black_hole_costs_its_timeout_and_no_more() -> None:
    def swallow(connection: socket.socket) -> None:
        while connection.recv(1000):  # until the client gives up
            pass

    with raw_server(swallow) as port:
        rpc = make_rpc(f"http://127.0.0.1:{port}", timeout=0.3)
        started = time.monotonic()
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable, match="no answer in time"):
            rpc.call("eth_blockNumber")
        assert time.monotonic() - started < 20  # the node would go on for ever


@pytest.mark.fault("R12")
def test_r12_silent_node_does_not_stop_the_next_one(anvil: AnvilNode) -> None:
    listener = socket.create_server(("127.0.0.1", 0))  # accepts by its backlog and never answers
    with contextlib.closing(listener):
        rpc = make_rpc(f"http://127.0.0.1:{listener.getsockname()[1]}", anvil.url, timeout=0.3)
        with contextlib.closing(rpc):
            assert json.loads(bytes(rpc.call("eth_blockNumber"))) == hex(anvil.block_number)


def drip(head: bytes, forever: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        for _ in range(200):
            connection.sendall(forever)
            time.sleep(0.02)

    return serve


@pytest.mark.fault("R13")
@pytest.mark.parametrize(
    ("head", "forever"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n[", b" ", id="body"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"x", id="header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"x-more: y\r\n", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n", id="chunks"),
    ],
)
def test_r13_slow_drip_ends_at_the_deadline(head: bytes, forever: bytes) -> None:
    with raw_server(drip(head, forever)) as port:
        rpc = make_rpc(f"http://127.0.0.1:{port}", timeout=0.4)
        started = time.monotonic()
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable, match=r"no answer in time|no HTTP"):
            rpc.call("eth_blockNumber")
        assert time.monotonic() - started < 20  # the node would go on for ever


@pytest.mark.fault("R13")
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
def test_r13_oversized_answer_is_not_read(declared: bool) -> None:
    sent = [0]

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        length = b"content-length: 500000000\r\n" if declared else b""
        connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n" + length + b"\r\n")
        for _ in range(500):
            connection.sendall(bytes(1 << 20))
            sent[0] += 1

    with raw_server(flood) as port:
        rpc = make_rpc(f"http://127.0.0.1:{port}", max_bytes=2 << 20)
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable, match="the answer is too large"):
            rpc.call("eth_blockNumber")
    assert sent[0] < 50


@pytest.mark.fault("R13")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"id":1,"result":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, id="deep-result"),
        pytest.param(b"\xff\xfe\x00", id="no-utf8"),
        pytest.param(b"", id="empty"),
        pytest.param(b'{"jsonrpc":"2.0","id":1}', id="no-result"),
        pytest.param(b'{"jsonrpc":"2.0","id":77,"result":"0x7a69"}', id="other-id"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"result":7}', id="number"),
        pytest.param(b"<html>please pay</html>", id="html"),
        pytest.param(b"null", id="null"),
    ],
)
def test_r13_what_is_no_answer_is_silence(answer: bytes) -> None:
    with scripted(lambda _: (200, answer)) as node:
        rpc = make_rpc(node.url)
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable):
            rpc.call("eth_blockNumber")


def test_redirects_are_not_followed() -> None:
    with scripted(each(good)) as inner, scripted(lambda _: (307, b"", {"location": inner.url})) as outer:
        rpc = make_rpc(outer.url)
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable, match="HTTP status 307"):
            rpc.call("eth_blockNumber")
        assert inner.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: (429, b"slow down"),
        lambda _: ok({"id": None, "error": {"code": -32005, "message": "Rate limit reached"}}),
        lambda _: ok({"id": None, "error": "too many requests"}),
        lambda _: (400, b'{"error":{"code":429,"message":"compute units exceeded"}}'),
    ],
)
def test_a_rate_limit_is_silence_and_goes_to_the_next_node(answer: Any, anvil: AnvilNode) -> None:
    with scripted(answer) as busy:
        rpc = make_rpc(busy.url, anvil.url)
        with contextlib.closing(rpc):
            assert bytes(rpc.call("eth_blockNumber")).startswith(b'"0x')


def test_words_of_a_contract_are_not_taken_for_the_nodes() -> None:
    reverts = iter([ValueError(3, "your quota is used up"), ValueError(-32000, "execution reverted: rate limit")])
    with scripted(each(lambda m, _: "0x7a69" if m == "eth_chainId" else next(reverts))) as node:
        rpc = make_rpc(node.url)
        with contextlib.closing(rpc):
            for _ in range(2):
                with pytest.raises(RpcRefused):
                    rpc.call("eth_call")


def test_batches_shrink_until_the_node_takes_them_and_keep_their_order() -> None:
    def answer(body: Any) -> Any:
        if isinstance(body, list) and len(body) > 3:
            return ok({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "batch too large"}})
        replies = json.loads(each(good)(body)[1])
        return ok(replies[::-1] if isinstance(replies, list) else replies)

    with scripted(answer) as node:
        rpc = make_rpc(node.url)
        with contextlib.closing(rpc):
            results = rpc.batch([Call("echo", (number,)) for number in range(10)])
            assert [json.loads(bytes(raw)) for raw in results if not isinstance(raw, RpcRefused)] == [
                [number] for number in range(10)
            ]
            before = len(node.requests)
            rpc.batch([Call("echo", (number,)) for number in range(9)])
            assert len(node.requests) - before == 5  # what the node takes is remembered


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data or not data.endswith(b"}"):  # head and body come in two pieces
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    return data.split(b"\r\n\r\n", 1)[1]


def test_an_idle_connection_is_used_again_and_a_closed_one_replaced() -> None:
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        while request := read_request(connection):
            asked = json.loads(request)
            body = json.dumps({"id": asked["id"], "result": "0x7a69"}).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
            if asked["method"] == "c":
                return

    with raw_server(serve) as port:
        rpc = make_rpc(f"http://127.0.0.1:{port}")
        with contextlib.closing(rpc):
            rpc.call("a")
            rpc.call("b")
            assert len(connections) == 1
            rpc.call("c")
            rpc.call("d")
            assert len(connections) == 2


def test_a_connection_that_is_closed_under_a_request_is_replaced_at_once() -> None:
    served: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        """Answer once; close when the second request has come."""
        while request := read_request(connection):
            served.append(request)
            if len(served) % 2 == 0:
                return
            body = json.dumps({"id": json.loads(request)["id"], "result": "0x7a69"}).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    with raw_server(serve) as port:
        rpc = make_rpc(f"http://127.0.0.1:{port}", attempts=1)
        with contextlib.closing(rpc):
            assert bytes(rpc.call("a")) == b'"0x7a69"'
    assert [json.loads(request)["method"] for request in served] == ["eth_chainId", "a", "a"]


@pytest.mark.parametrize("url", ["", "ftp://node", "node:8545", "http:///key", "file:///etc/passwd", "http://[::bad"])
def test_urls_that_cannot_be_used_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_rpc(url)
    assert caught.value.field == "rpc_urls"
    assert not url or url not in str(caught.value)
    with pytest.raises(ConfigurationError):
        make_rpc()


@pytest.mark.fault("D27")
def test_d27_no_call_leaves_while_a_billing_transaction_is_open(anvil: AnvilNode) -> None:
    rpc = make_rpc(anvil.url)
    elsewhere: list[bytes] = []
    with contextlib.closing(rpc):
        with no_network():
            with no_network():
                pass
            with pytest.raises(RuntimeError, match="billing transaction is open"):
                rpc.call("eth_blockNumber")
            with pytest.raises(RuntimeError):
                rpc.check_chain()
            other = threading.Thread(target=lambda: elsewhere.append(bytes(rpc.call("eth_blockNumber"))))
            other.start()
            other.join(60)
            assert len(elsewhere) == 1  # the guard is this thread's alone
        assert bytes(rpc.call("eth_blockNumber")) == elsewhere[0]
    assert_network_allowed()


def test_every_error_is_one_of_ours() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        rpc = make_rpc(f"http://127.0.0.1:{unused.getsockname()[1]}")
        with contextlib.closing(rpc), pytest.raises(BillingError, match="no connection"):
            rpc.call("eth_blockNumber")


def test_a_batch_that_answers_a_call_twice_is_no_answer() -> None:
    """Two replies to one question contradict each other, whichever comes last."""

    def answer(body: Any) -> Any:
        replies = json.loads(each(good)(body)[1])
        return ok([*replies, replies[0] | {"result": "0x99"}] if isinstance(replies, list) else replies)

    with scripted(answer) as node:
        rpc = make_rpc(node.url)
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable, match="does not fit"):
            rpc.batch([Call("echo", (number,)) for number in range(3)])


@pytest.mark.parametrize("reply", [{"result": "0x99"}, {"id": None, "result": "0x99"}])
def test_only_an_error_may_come_without_the_number_of_the_question(reply: dict[str, Any]) -> None:
    def answer(body: Any) -> Any:
        return ok(reply) if body["method"] == "eth_blockNumber" else each(good)(body)

    with scripted(answer) as node:
        rpc = make_rpc(node.url)
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable, match="does not fit"):
            rpc.call("eth_blockNumber")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "-32614", "message": None}, RefusalKind.RANGE_CAP),
        ({"code": None, "message": "exceed maximum block range: 50"}, RefusalKind.RANGE_CAP),
        ({"code": -32614.0, "message": ""}, RefusalKind.RANGE_CAP),
        ({"code": "ERR_RANGE", "message": "query returned more than 10000 results"}, RefusalKind.TOO_MUCH),
        ({"code": 1e300, "message": "header not found"}, RefusalKind.HEAD_LAG),
        ({}, RefusalKind.FAULT),
    ],
)
def test_errors_that_are_written_otherwise_are_understood(error: dict[str, Any], kind: RefusalKind) -> None:
    def answer(body: Any) -> Any:
        if body["method"] == "eth_getLogs":
            return ok({"id": body["id"], "error": error})
        return each(good)(body)

    with scripted(answer) as node:
        rpc = make_rpc(node.url)
        with contextlib.closing(rpc), pytest.raises(RpcRefused) as refused:
            rpc.call("eth_getLogs", {})
        assert refusal_of(refused.value).kind is kind
        assert isinstance(refused.value.details["rpc_code"], int)


def test_batches_that_an_error_of_a_moment_made_small_grow_again() -> None:
    trouble = [True]

    def answer(body: Any) -> Any:
        if trouble[0] and isinstance(body, list):
            return ok({"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": "internal error"}})
        return each(good)(body)

    with scripted(answer) as node:
        rpc = make_rpc(node.url)
        with contextlib.closing(rpc):
            rpc.batch([Call("echo", (number,)) for number in range(50)])
            trouble[0] = False
            for _ in range(50):
                rpc.batch([Call("echo", (number,)) for number in range(50)])
            before = len(node.requests)
            rpc.batch([Call("echo", (number,)) for number in range(50)])
            assert len(node.requests) - before <= 4
