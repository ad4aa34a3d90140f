"""How a node's connection fails, for :class:`evmbilling.testing.rpc_proxy.RpcProxy`: whole requests at a time."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Protocol, runtime_checkable

from attrs import field, frozen

_PIECE = 1 << 20


@runtime_checkable
class Break(Protocol):
    """A fault of the whole request.

    Attributes:
        reaches_node: whether the node behind the proxy gets the request all the same.

    """

    @property
    def reaches_node(self) -> bool:
        """Whether the node behind gets the request all the same."""
        ...

    def serve(self, handler: BaseHTTPRequestHandler, answer: bytes, ended: threading.Event) -> None:
        """Answer, or fail to.

        Args:
            handler: of the request.
            answer: what the node said; the request itself when the node is not asked.
            ended: set when the proxy ends: nothing waits longer than that.

        """
        ...


@frozen
class Hang:
    """Take the request and never answer."""

    reaches_node = False

    def serve(self, handler: BaseHTTPRequestHandler, answer: bytes, ended: threading.Event) -> None:
        """Wait for the end of the proxy."""
        del answer
        ended.wait()
        handler.close_connection = True


@frozen
class Close:
    """Close the connection: before the answer, or in the middle of it."""

    midway: bool = False

    @property
    def reaches_node(self) -> bool:
        """Only an answer can be cut."""
        return self.midway

    def serve(self, handler: BaseHTTPRequestHandler, answer: bytes, ended: threading.Event) -> None:
        """Hang up."""
        del ended
        if self.midway:
            _head(handler, 200, len(answer))
            handler.wfile.write(answer[: len(answer) // 2])
        hang_up(handler)


@frozen
class LoseReply:
    """Pass the request on to the node and lose its answer: what was sent is sent, and nobody says so."""

    reaches_node = True

    def serve(self, handler: BaseHTTPRequestHandler, answer: bytes, ended: threading.Event) -> None:
        """Hang up."""
        del answer, ended
        hang_up(handler)


@frozen
class Drip:
    """Answer byte by byte, with ``seconds`` between them."""

    seconds: float = 0.05
    reaches_node = True

    def serve(self, handler: BaseHTTPRequestHandler, answer: bytes, ended: threading.Event) -> None:
        """Send slowly until somebody has enough."""
        _head(handler, 200, len(answer))
        for at in range(len(answer)):
            handler.wfile.write(answer[at : at + 1])
            handler.wfile.flush()
            if ended.wait(self.seconds):
                break


@frozen
class HttpStatus:
    """Answer with an HTTP status, as balancers, gateways and cashiers do."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict)
    reaches_node = False

    def serve(self, handler: BaseHTTPRequestHandler, answer: bytes, ended: threading.Event) -> None:
        """Send it."""
        del answer, ended
        _head(handler, self.status, len(self.body), self.headers)
        handler.wfile.write(self.body)


def html(status: int = 200, text: str = "<html><body>This plan has ended.</body></html>") -> HttpStatus:
    """Return an answer for people in place of one for programs."""
    return HttpStatus(status, text.encode(), {"content-type": "text/html"})


@frozen
class Huge:
    """Answer with so many bytes of nothing, with or without saying so first."""

    size: int = 500 << 20
    declared: bool = False
    reaches_node = False

    def serve(self, handler: BaseHTTPRequestHandler, answer: bytes, ended: threading.Event) -> None:
        """Send until somebody has enough."""
        del answer
        _head(handler, 200, self.size if self.declared else None)
        handler.close_connection = True
        piece, sent = b" " * _PIECE, 0
        while sent < self.size and not ended.is_set():
            handler.wfile.write(piece)
            sent += len(piece)


@frozen
class Deep:
    """Answer with JSON that is nested so many times."""

    depth: int = 100_000
    reaches_node = False

    def serve(self, handler: BaseHTTPRequestHandler, answer: bytes, ended: threading.Event) -> None:
        """Send it."""
        del ended
        number = json.loads(answer)["id"] if answer.startswith(b"{") else 1
        body = b'{"jsonrpc":"2.0","id":%d,"result":%s%s}' % (number, b"[" * self.depth, b"]" * self.depth)
        _head(handler, 200, len(body))
        handler.wfile.write(body)


def send_answer(handler: BaseHTTPRequestHandler, answer: bytes) -> None:
    """Answer as a node does."""
    _head(handler, 200, len(answer), {"content-type": "application/json"})
    handler.wfile.write(answer)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without another byte."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def _head(
    handler: BaseHTTPRequestHandler, status: int, length: int | None, headers: Mapping[str, str] | None = None
) -> None:
    handler.send_response_only(status)
    given = {name.lower(): value for name, value in (headers or {}).items()}
    for name, value in ({"date": handler.date_time_string()} | given).items():
        handler.send_header(name, value)
    if length is None:
        handler.send_header("connection", "close")
    else:
        handler.send_header("content-length", str(length))
    handler.end_headers()
