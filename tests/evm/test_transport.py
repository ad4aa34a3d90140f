"""Connections to nodes: TLS, threads, forks."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from evm_servers import ScriptedNode, each, scripted

from evmbilling.adapters.evm.rpc.rpc import Call, JsonRpc
from evmbilling.errors import RpcRefused, RpcUnavailable, WrongChain
from evmbilling.testing.anvil import AnvilNode

CERTIFICATE = Path(__file__).with_name("untrusted_node.pem")


@contextlib.contextmanager
def https_node() -> Iterator[ScriptedNode]:
    with scripted(each(lambda *_: "0x7a69")) as node:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        node._server.socket = context.wrap_socket(node._server.socket, server_side=True)
        yield node


def open_rpc(url: str, **options: Any) -> JsonRpc:
    return JsonRpc(**{"chain_id": 31337, "urls": [url], "timeout": 5, "attempts": 1} | options)


def idle_of(rpc: JsonRpc) -> list[Any]:
    """The idle connections to the first node."""
    return rpc._pool.current.exchange.http._idle


def test_certificate_that_nobody_vouches_for_is_refused() -> None:
    with https_node() as node:
        rpc = open_rpc(f"https://127.0.0.1:{node.port}/")
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable, match="no connection"):
            rpc.check_chain()
        assert node.requests == []


def test_trusted_node_is_asked_over_tls_and_its_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with https_node() as node:
        rpc = open_rpc(f"https://127.0.0.1:{node.port}/")
        with contextlib.closing(rpc):
            rpc.check_chain()
            assert bytes(rpc.call("eth_chainId")) == b'"0x7a69"'
            assert len(idle_of(rpc)) == 1


def test_certificate_of_another_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    with https_node() as node:
        rpc = open_rpc(f"https://localhost:{node.port}/")  # the same node; the certificate names its address only
        with contextlib.closing(rpc), pytest.raises(RpcUnavailable):
            rpc.check_chain()
        assert node.requests == []


def test_many_threads_get_their_own_answers() -> None:
    def answer(method: str, params: list[Any]) -> Any:
        return "0x7a69" if method == "eth_chainId" else params

    with scripted(each(answer)) as node:
        rpc = open_rpc(node.url)

        def ask(number: int) -> list[Any]:
            results = rpc.batch([Call("echo", (number, at)) for at in range(3)])
            return [json.loads(bytes(raw)) for raw in results if not isinstance(raw, RpcRefused)]

        with contextlib.closing(rpc), ThreadPoolExecutor(8) as threads:
            assert list(threads.map(ask, range(200))) == [[[n, 0], [n, 1], [n, 2]] for n in range(200)]
            assert len(idle_of(rpc)) <= 8


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # it is what this test is about
def test_a_forked_child_does_not_share_connections(anvil: AnvilNode) -> None:
    rpc = open_rpc(anvil.url)
    with contextlib.closing(rpc):
        rpc.check_chain()
        (mine,) = idle_of(rpc)
        child = os.fork()
        if child == 0:
            other = b""
            with contextlib.suppress(BaseException):
                rpc.call("eth_chainId")
                other = b"own" if idle_of(rpc) not in ([], [mine]) else b"shared"
            os._exit(0 if other == b"own" else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert idle_of(rpc) == [mine]
        rpc.check_chain()
        assert idle_of(rpc) == [mine]


def test_a_chain_that_changes_under_many_threads_is_never_believed(anvil: AnvilNode) -> None:
    rpc = open_rpc(anvil.url)
    outcomes: list[str] = []

    def check() -> None:
        try:
            rpc.check_chain()
            outcomes.append("ours")
        except WrongChain:
            outcomes.append("wrong")

    with contextlib.closing(rpc):
        check()
        anvil.set_chain_id(137)
        threads = [threading.Thread(target=check) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert outcomes == ["ours"] + ["wrong"] * 6
