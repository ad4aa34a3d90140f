"""The hosts behind real servers: requests that two readers may cut apart elsewhere, and clients that leave."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import served

HOSTS = {"fastapi": ("uvicorn", "served_hosts:fastapi_app"), "flask": ("gunicorn", "served_hosts:flask_app")}
SMUGGLED = b"GET /v1/billing/plans HTTP/1.1\r\nHost: shop.example\r\n\r\n"
HEAD = b"POST /v1/billing/contracts/webhook HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
PAIRS = {
    "length and chunks": LENGTH % (5 + len(SMUGGLED)) + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks and length": CHUNKED + LENGTH % (5 + len(SMUGGLED)) + b"\r\n0\r\n\r\n",
    "two lengths": LENGTH % 2 + LENGTH % (2 + len(SMUGGLED)) + b"\r\n{}",
    "a length with a sign": b"Content-Length: +2\r\n\r\n{}",
    "unknown coding": LENGTH % (5 + len(SMUGGLED)) + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "space before the colon": LENGTH % (5 + len(SMUGGLED)) + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "bare line feed": b"X-Note: a\nContent-Length: 0\r\n" + LENGTH % len(SMUGGLED) + b"\r\n",
    "chunk with a stray line feed": CHUNKED + b"\r\n0;\n\r\n\r\n",
}


@pytest.fixture(scope="module", params=sorted(HOSTS))
def port(request) -> Iterator[int]:
    server, factory = HOSTS[request.param]
    with served(server, Path(__file__).parent, factory) as port:
        yield port


def statuses(port: int, raw: bytes) -> list[int]:
    """Send bytes; return the statuses of everything that was answered until the server closed the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as asked:
        asked.sendall(raw)
        told = b""
        while part := asked.recv(65536):
            told += part
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3})", told)]


@pytest.mark.fault("H24")
@pytest.mark.parametrize("pair", PAIRS)
def test_h24_what_could_be_two_requests_is_refused_and_the_connection_closed(port, pair):
    answered = statuses(port, HEAD + PAIRS[pair] + SMUGGLED)
    assert len(answered) == 1
    assert answered[0] in (400, 501)


def test_a_client_that_leaves_in_the_middle_costs_nothing(port):
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as asked:
            asked.sendall(HEAD + LENGTH % 100 + b"\r\n{")
    closing = SMUGGLED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert statuses(port, closing) == [200]
