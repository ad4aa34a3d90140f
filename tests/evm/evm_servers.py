"""Nodes that misbehave: silent, slow, oversized, scripted, or Anvil with some answers changed."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from evmbilling.adapters.evm.rpc.rpc import JsonRpc
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.testing.anvil import AnvilNode

Reply = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]


class ScriptedNode:
    """An HTTP server whose answers a function gives: body of the request → status, body[, headers]."""

    def __init__(self, answer: Callable[[Any], Reply]) -> None:
        self.requests: list[Any] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                node.requests.append(body)
                node.paths.append(self.path)
                node.headers.append({key.lower(): value for key, value in self.headers.items()})
                status, data, *more = answer(body)
                self.send_response(status)
                for key, value in (more[0] if more else {}).items():
                    self.send_header(key, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST  # noqa: N815  - the base class calls it so

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def calls(self) -> list[str]:
        """The methods that were called, in order."""
        flat = [item for body in self.requests for item in (body if isinstance(body, list) else [body])]
        return [item["method"] for item in flat]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextlib.contextmanager
def scripted(answer: Callable[[Any], Reply]) -> Iterator[ScriptedNode]:
    node = ScriptedNode(answer)
    try:
        yield node
    finally:
        node.close()


def ok(value: Any) -> Reply:
    return 200, json.dumps(value).encode()


def each(answer_one: Callable[[str, list[Any]], Any]) -> Callable[[Any], Reply]:
    """Answer every call of a batch by itself; an ``Exception`` value becomes an error object."""

    def reply(item: dict[str, Any]) -> dict[str, Any]:
        value = answer_one(item["method"], item["params"])
        head = {"jsonrpc": "2.0", "id": item["id"]}
        if isinstance(value, Exception):
            code, message, *data = value.args
            return head | {"error": {"code": code, "message": message} | ({"data": data[0]} if data else {})}
        return head | {"result": value}

    return lambda body: ok([reply(item) for item in body] if isinstance(body, list) else reply(body))


def tampered(anvil: AnvilNode, change: Callable[[str, list[Any], Any], Any]) -> Callable[[Any], Reply]:
    """Anvil's own answers, each passed through ``change(method, params, result)``."""

    def answer_one(method: str, params: list[Any]) -> Any:
        return change(method, params, anvil.rpc(method, *params))

    return each(answer_one)


@contextlib.contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server: ``serve`` gets every accepted connection in a thread of its own; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    stop = threading.Event()
    threads: list[threading.Thread] = []

    def handle(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            serve(connection)

    def accept() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            connection.settimeout(5)
            threads.append(threading.Thread(target=handle, args=(connection,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        accepting.join(5)
        for thread in threads:
            thread.join(5)
        listener.close()


def open_source(url: str, chain_id: int = 31337) -> EvmChainSource:
    return EvmChainSource(JsonRpc(chain_id=chain_id, urls=[url], timeout=5, attempts=1))


@contextlib.contextmanager
def liar(node: AnvilNode, change: Callable[[str, list[Any], Any], Any]) -> Iterator[EvmChainSource]:
    """A source over a node that changes some of Anvil's answers."""
    with scripted(tampered(node, change)) as server, contextlib.closing(open_source(server.url)) as source:
        yield source
