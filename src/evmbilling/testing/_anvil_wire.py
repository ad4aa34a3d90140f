"""What is asked of Anvil travels over HTTP as Anvil speaks it: one message each way, over a connection that is kept.

A test asks a node many small things. A whole HTTP client takes ten times as long for each as the node needs.
"""

from __future__ import annotations

import os
import re
import socket
import weakref
from collections import deque

from urllib3.util.wait import wait_for_read

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"
_PIECE = 1 << 16


class AnvilWire:
    """Connections to a node of this machine; safe among threads, and in a fork.

    Args:
        port: where it listens.
        seconds: how long each part of an answer may take.

    """

    def __init__(self, port: int, *, seconds: float) -> None:
        self._port, self._seconds = port, seconds
        self._idle: deque[socket.socket] = deque()
        self._pid = os.getpid()
        weakref.finalize(self, _close, self._idle)

    def post(self, body: bytes) -> bytes:
        """Send a body and return that of the answer.

        Raises:
            OSError: there is no node, or it does not answer in time, or not in full.

        """
        if self._pid != os.getpid():  # a connection that the parent goes on with is none of a fork's
            self._pid, self._idle = os.getpid(), deque()
        connection = self._take()
        try:
            connection.sendall(
                b"POST / HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\n\r\n%b" % (len(body), body)
            )
            answer = _read(connection)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close the connections."""
        _close(self._idle)

    def _take(self) -> socket.socket:
        """Take a connection that is kept and on which nothing was said since, or open one."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if not wait_for_read(connection, timeout=0):
                return connection
            connection.close()
        return socket.create_connection(("127.0.0.1", self._port), self._seconds)


def _read(connection: socket.socket) -> bytes:
    pieces = b""
    while _END not in pieces:
        pieces += _some(connection)
    head, _, body = pieces.partition(_END)
    length = _LENGTH.search(head + b"\r\n")
    if length is None:
        raise ConnectionError("an answer without a length")
    rest = [body]
    missing = int(length[1]) - len(body)
    while missing > 0:
        rest.append(_some(connection))
        missing -= len(rest[-1])
    return b"".join(rest)


def _some(connection: socket.socket) -> bytes:
    piece = connection.recv(_PIECE)
    if not piece:
        raise ConnectionError("the node hung up")
    return piece


def _close(idle: deque[socket.socket]) -> None:
    while idle:
        idle.pop().close()
