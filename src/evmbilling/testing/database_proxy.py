"""A network that fails between a program and PostgreSQL, at the places that matter: around ``COMMIT``.

The proxy listens on the loopback interface, passes bytes on to a server (TCP or Unix socket), and understands just
enough of the protocol to see a ``COMMIT`` go by::

    with DatabaseProxy(postgres_url) as proxy:
        storage = SqlAlchemyStorage.open(proxy.url)
        proxy.lose_next_commit("reply")     # the server commits, the program never hears of it
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from sqlalchemy.engine import URL, make_url

from evmbilling.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Loss = Literal["request", "reply"]
"""What of a ``COMMIT`` is lost: the request (nothing is committed) or the reply (everything is)."""

_COMMIT = re.compile(rb"commit\s*;?\s*\0", re.IGNORECASE)
_QUERY = b"Q"
_CHUNK = 65536
_CONNECT_SECONDS = 10


class DatabaseProxy:
    """Stands before a PostgreSQL database; a context manager, which at the end closes whatever went through it.

    Args:
        url: the SQLAlchemy URL of the database.

    Attributes:
        direct: that URL, past the proxy.
        lost: how many commits were lost on the way.

    """

    def __init__(self, url: str) -> None:
        self.direct = url
        self._url = make_url(url)
        self._listener: socket.socket | None = None
        self._lines: list[_Line] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._next: Loss | None = None
        self.lost = 0

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept, self._listener)
        return self

    def __exit__(self, *_: object) -> None:
        if self._listener is not None:
            # Closing alone would leave the thread waiting in ``accept``.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(_CONNECT_SECONDS)

    @property
    def url(self) -> str:
        """The URL of the same database by way of this proxy.

        Raises:
            ConfigurationError: the proxy is not started.

        """
        if self._listener is None:
            raise ConfigurationError("this proxy is not started")
        port = self._listener.getsockname()[1]
        # Encrypted, nobody between the two could tell a COMMIT from anything else.
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        return self._url.set(host="127.0.0.1", port=port, query=plain).render_as_string(hide_password=False)

    def lose_next_commit(self, what: Loss) -> None:
        """Lose the next ``COMMIT`` that any connection sends, and break that connection."""
        with self._lock:
            self._next = what

    def go_half_open(self) -> None:
        """Pass nothing on from now on over the connections that stand, and close none of them: no side is told."""
        with self._lock:
            lines = list(self._lines)
        for line in lines:
            line.silent.set()

    def cut(self) -> None:
        """Break every connection on both sides."""
        with self._lock:
            lines, self._lines = self._lines, []
        for line in lines:
            line.cut()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed: the proxy ends
                return
            try:
                server = _connect(self._url)
            except OSError:
                client.close()
                continue
            line = _Line(client, server)
            with self._lock:
                self._lines.append(line)
            self._start(self._upstream, line)
            self._start(self._downstream, line)

    def _upstream(self, line: _Line) -> None:
        """Pass on what the program sends, message by message."""
        for message in line.spoken():
            loss = self._loss_of(message)
            if loss == "request":
                line.cut()
                return
            if loss == "reply":
                line.deaf.set()  # before the server can answer
            if not line.silent.is_set():
                line.send(line.server, message)
        line.cut()

    def _downstream(self, line: _Line) -> None:
        """Pass on what the server sends."""
        for chunk in line.received(line.server):
            if line.deaf.is_set():
                break
            if not line.silent.is_set():
                line.send(line.client, chunk)
        line.cut()

    def _loss_of(self, message: bytes) -> Loss | None:
        if not (message.startswith(_QUERY) and _COMMIT.fullmatch(message[5:])):
            return None
        with self._lock:
            loss, self._next = self._next, None
            self.lost += loss is not None
        return loss


class _Line:
    """One connection: its two sockets, and how it is broken."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.silent = threading.Event()
        self.deaf = threading.Event()

    def spoken(self) -> Iterator[bytes]:
        """Yield the program's messages whole; the first has no letter before its length."""
        buffer, start = b"", 0
        for chunk in self.received(self.client):
            buffer += chunk
            while len(buffer) >= start + 4:
                length = start + int(struct.unpack_from("!I", buffer, start)[0])
                if len(buffer) < length:
                    break
                yield buffer[:length]
                buffer, start = buffer[length:], 1

    @staticmethod
    def received(side: socket.socket) -> Iterator[bytes]:
        """Yield what arrives until the other end is gone."""
        with contextlib.suppress(OSError):
            while chunk := side.recv(_CHUNK):
                yield chunk

    @staticmethod
    def send(side: socket.socket, data: bytes) -> None:
        """Send; when the other end is gone, whoever reads from it notices."""
        with contextlib.suppress(OSError):
            side.sendall(data)

    def cut(self) -> None:
        """Break both sides."""
        for side in (self.client, self.server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()


def _connect(url: URL) -> socket.socket:
    host = str(url.query.get("host") or url.host or "127.0.0.1")
    port = int(str(url.query.get("port") or url.port or 5432))
    if host.startswith("/"):
        side = socket.socket(socket.AF_UNIX)
        side.connect(str(Path(host) / f".s.PGSQL.{port}"))
        return side
    return socket.create_connection((host, port), _CONNECT_SECONDS)
