"""The hosts behind real servers: requests that two readers may cut apart elsewhere, and clients that leave."""

from __future__ import annotations

import re
import runpy
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import forks
from servers import command

HOSTS = {"fastapi": ("uvicorn", "served_hosts:fastapi_app"), "flask": ("gunicorn", "served_hosts:flask_app")}
SMUGGLED = b"GET /v1/billing/plans HTTP/1.1\r\nHost: shop.example\r\n\r\n"
HEAD = b"POST /v1/billing/contracts/webhook HTTP/1.1\r\nHost: shop.example\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
MOST = 256 * 1024
PLAN = b'{"plan":"%s"}'
"""A body that is JSON; how long the name is decides how long it is."""
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
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        process = forks.begin(serve, server, factory, listening)
        try:
            port = listening.getsockname()[1]
            assert statuses(port, b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n") == [404]
            yield port
        finally:
            process.terminate()
            process.join(60)
            process.kill()


def serve(server: str, factory: str, listening: socket.socket) -> None:
    """Be the command of a server, with the warnings that a program has."""
    warnings.resetwarnings()
    warnings.simplefilter("default")
    listening.set_inheritable(True)
    _, _, module, *sys.argv[1:] = command(server, Path(__file__).parent, factory, listening.fileno())
    sys.argv[0] = module
    runpy.run_module(module, run_name="__main__", alter_sys=True)


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


def ordered(headers: bytes, body: bytes, *, path: bytes = b"/checkout") -> bytes:
    """Return a checkout as it goes over the wire."""
    head = b"POST /v1/billing%s HTTP/1.1\r\nHost: shop.example\r\nX-User: user-1\r\nConnection: close\r\n" % path
    return head + b"Idempotency-Key: k-1\r\n" + headers + b"\r\n" + body


def plan_of_bytes(size: int) -> bytes:
    return PLAN % (b"x" * (size - len(PLAN % b"")))


def chunks(body: bytes, size: int) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.fault("W16")
@pytest.mark.parametrize(("more", "status"), [(-1, 422), (0, 422), (1, 413)])
@pytest.mark.parametrize("way", ["length", "chunks"])
def test_w16_a_body_is_taken_up_to_the_limit_and_no_byte_further(port, way, more, status):
    """What a framework cuts off there without a word would be another body than the one that was sent."""
    body = plan_of_bytes(MOST + more)
    assert len(body) == MOST + more
    kind = b"Content-Type: application/json\r\n"
    sent = LENGTH % len(body) + kind if way == "length" else CHUNKED + kind
    assert statuses(port, ordered(sent, body if way == "length" else chunks(body, 9_000))) == [status]


JSON = b"Content-Type: application/json\r\n" + LENGTH % 2
DOUBLED = {
    "media types": (JSON + b"Content-Type: text/plain\r\n", 400),
    "origins, ours first": (
        JSON + b"Cookie: s=1\r\nOrigin: https://shop.example\r\nOrigin: https://evil.example\r\n",
        403,
    ),
    "origins, ours last": (
        JSON + b"Cookie: s=1\r\nOrigin: https://evil.example\r\nOrigin: https://shop.example\r\n",
        403,
    ),
    "sites": (JSON + b"Cookie: s=1\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n", 403),
    "cookies of another site": (JSON + b"Cookie: s=1\r\nCookie: t=1\r\nOrigin: https://evil.example\r\n", 403),
    "keys": (JSON + b"Idempotency-Key: k-2\r\n", 400),
}


@pytest.mark.fault("H07")
@pytest.mark.parametrize("doubled", DOUBLED)
def test_h07_what_is_said_twice_is_not_half_believed(port, doubled):
    headers, status = DOUBLED[doubled]
    valid = b'{"plan":"pro","wallet":"0x0101010101010101010101010101010101010101"}'
    sent = headers.replace(LENGTH % 2, LENGTH % len(valid))
    assert statuses(port, ordered(sent, valid)) == [status]


@pytest.mark.fault("H11")
@pytest.mark.parametrize(
    "path", [b"/v1/billing//plans", b"/v1//billing/plans", b"/v1/billing/plans/", b"/v1/billing/me//"]
)
def test_h11_no_path_is_redirected_to_where_the_request_says_the_host_is(port, path):
    asked = b"GET %s HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n" % path
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(asked)
        told = b""
        while part := connection.recv(65536):
            told += part
    assert re.findall(rb"HTTP/1\.1 (\d{3})", told) == [b"404"]
    assert b"evil" not in told
