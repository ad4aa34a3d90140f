"""HTTP to one node: bounded in time and size, silent about where it goes.

urllib3's connections do the connecting and the TLS; its pools and its response class are not used, because they write
hosts and paths into the debug log. No redirect is followed and no proxy variable is read.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import threading
import time
import weakref
from base64 import b64encode
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal
from urllib.parse import unquote

from attrs import field, frozen
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import Url, parse_url

from evmbilling.errors import ConfigurationError

_PIECE: Final = 1 << 20
_IDLE_CONNECTIONS: Final = 8
_FAULTS: Final = (HTTPError, http.client.HTTPException, OSError, ValueError)
_HUNG_UP: Final = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ConnectionAbortedError)


Silence = Literal[
    "no_connection", "timeout", "too_large", "no_http", "http_status", "closed", "no_rpc", "misfit", "rate", "behind"
]
"""Why a node gave no usable answer. ``closed``: it asks for payment or another key; ``misfit``: an answer to something
else than was asked; ``behind``: it has not come as far as needed."""


class NoAnswer(Exception):
    """The node gave no usable answer; the text never says where it is.

    Attributes:
        reason: the same in a word.
        retry_after: seconds that the node wants to be left alone, when it says so.

    """

    def __init__(self, text: str, reason: Silence, *, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.reason: Silence = reason
        self.retry_after = retry_after


@frozen
class HttpAnswer:
    """Status and body of an answer, and its ``Retry-After`` in seconds."""

    status: int
    body: bytes = field(repr=False)
    retry_after: float | None = None


class _BoundedReader(io.RawIOBase):
    """The bytes of a socket until a deadline: a node that drips is as dead as one that is silent."""

    def __init__(self, connection: _Bounded, sock: Any) -> None:
        self._connection, self._sock, self._raw = connection, sock, sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._connection.seconds_left())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedSocket:
    """A socket whose files keep the deadline of their connection."""

    def __init__(self, connection: _Bounded, sock: Any) -> None:
        self._connection, self._sock = connection, sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *_args: Any, **_options: Any) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._connection, self._sock))


class _Bounded:
    """What both kinds of connection share."""

    sock: Any
    deadline = 0.0

    def seconds_left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # a mixin in front of a urllib3 connection
        self.sock = _BoundedSocket(self, self.sock)


class _Plain(_Bounded, HTTPConnection):
    """HTTP."""


class _Secure(_Bounded, HTTPSConnection):
    """HTTPS with verified certificates."""


class NodeHttp:
    """One node's url, and idle connections to it. Safe for threads; a forked child opens connections of its own.

    Args:
        url: http or https; user and password become an Authorization header.
        timeout: seconds for a whole exchange, from the first byte sent to the last one read.
        max_bytes: the largest answer that is read.

    """

    def __init__(self, url: str, *, timeout: float, max_bytes: int) -> None:
        parsed = _parse(url)
        self._host, self._port = str(parsed.host).strip("[]"), parsed.port
        self._secure = parsed.scheme == "https"
        self._target = parsed.request_uri
        self._headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",  # a compressed answer could be small on the wire and huge in memory
            "user-agent": "evmbilling",
        }
        if parsed.auth:
            self._headers["authorization"] = "Basic " + b64encode(unquote(parsed.auth).encode()).decode()
        self._timeout, self._max_bytes = timeout, max_bytes
        self._idle: list[_Plain | _Secure] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()
        # An engine that is dropped without being closed leaves no socket behind.
        weakref.finalize(self, _close_all, self._idle)

    def __repr__(self) -> str:
        return "<NodeHttp>"

    def post(self, body: bytes, *, timeout: float | None = None) -> HttpAnswer:
        """Send a body and return the answer; ``timeout`` in place of the usual one.

        Raises:
            NoAnswer: no connection, no answer in time, too large an answer, broken HTTP.

        """
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        connection = self._take()
        fresh = connection.sock is None
        answer, fault = self._try(connection, body, seconds)
        if isinstance(fault, _HUNG_UP) and not fresh:
            # The node closed an idle connection: that says nothing about the node.
            answer, fault = self._try(self._open(), body, seconds)
        if answer is None:
            # Raised out here, so that the fault, which names the host, is not its context.
            raise NoAnswer(*_describe(fault))
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            _close_all(self._idle)

    def _try(
        self, connection: _Plain | _Secure, body: bytes, seconds: float
    ) -> tuple[HttpAnswer | None, BaseException | None]:
        keep = False
        try:
            connection.timeout, connection.deadline = seconds, time.monotonic() + seconds
            connection.request("POST", self._target, body=body, headers=self._headers)
            # The plain method: urllib3's own writes the url into the log when a header is malformed.
            with http.client.HTTPConnection.getresponse(connection) as response:
                data = self._read(response)
                keep = not response.will_close
        except _FAULTS as fault:
            return None, fault
        finally:
            self._give_back(connection, keep=keep)
        return HttpAnswer(response.status, data, _retry_after(response.headers)), None

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        if (response.length or 0) > self._max_bytes:
            raise _TooLarge
        pieces, size = [], 0
        while piece := response.read(_PIECE):
            size += len(piece)
            if size > self._max_bytes:
                raise _TooLarge
            pieces.append(piece)
        return b"".join(pieces)

    def _open(self) -> _Plain | _Secure:
        if self._secure:
            return _Secure(self._host, self._port, timeout=self._timeout, cert_reqs="CERT_REQUIRED")
        return _Plain(self._host, self._port, timeout=self._timeout)

    def _take(self) -> _Plain | _Secure:
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._idle.clear()
            while self._idle:
                connection = self._idle.pop()
                if connection.is_connected:
                    return connection
                connection.close()
        return self._open()

    def _give_back(self, connection: _Plain | _Secure, *, keep: bool) -> None:
        with self._lock:
            if keep and len(self._idle) < _IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()


def _close_all(idle: list[_Plain | _Secure]) -> None:
    while idle:
        idle.pop().close()


class _TooLarge(ValueError):
    """The answer is larger than allowed."""


def _parse(url: str) -> Url:
    parsed = None
    try:
        parsed = parse_url(url)
    except (HTTPError, ValueError):
        parsed = None
    if parsed is None or parsed.scheme not in ("http", "https") or not parsed.host:
        raise ConfigurationError("the url of a node begins with http:// or https:// and names a host", field="rpc_urls")
    return parsed


def _retry_after(headers: Message) -> float | None:
    """Read ``Retry-After`` (RFC 9110): seconds, or a date, which is compared with the server's own clock."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    seconds: float | None = None
    try:
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("date", ""))
        seconds = max((until - now).total_seconds(), 0.0)
    except (TypeError, ValueError, OverflowError):
        seconds = None
    return seconds


def _describe(fault: BaseException | None) -> tuple[str, Silence]:
    if isinstance(fault, _TooLarge):
        return "the answer is too large", "too_large"
    if isinstance(fault, TimeoutError | socket.timeout) or "Timeout" in type(fault).__name__:
        return "no answer in time", "timeout"
    if isinstance(fault, http.client.HTTPException) and not isinstance(fault, _HUNG_UP):
        return "the answer is no HTTP", "no_http"
    return "no connection", "no_connection"
