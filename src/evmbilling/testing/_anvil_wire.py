"""Connections to a node of this machine that are kept: a test asks it many small things.

The standard library's client costs half of what one costs that also retries, follows and decodes.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from http.client import HTTPConnection, HTTPException

from urllib3.util.wait import wait_for_read

_HEADERS = {"content-type": "application/json"}


class AnvilWire:
    """Connections to a node of this machine; safe among threads, and in a fork.

    Args:
        port: where it listens.
        seconds: how long each part of an answer may take.

    """

    def __init__(self, port: int, *, seconds: float) -> None:
        self._port, self._seconds = port, seconds
        self._idle: deque[HTTPConnection] = deque()
        self._pid = os.getpid()
        weakref.finalize(self, _close, self._idle)

    def post(self, body: bytes) -> bytes:
        """Send a body and return that of the answer.

        Raises:
            OSError: there is no node, or it does not answer in time, or not in full.

        """
        if self._pid != os.getpid():  # a connection that the parent goes on with is none of a fork's
            self._idle, self._pid = deque(), os.getpid()  # in this order: other threads look at the id first
        connection = self._take()
        try:
            connection.request("POST", "/", body, _HEADERS)
            answer = connection.getresponse().read()
        except BaseException as error:
            connection.close()
            if isinstance(error, HTTPException):
                raise ConnectionError(f"no whole answer: {error!r}") from error
            raise
        self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Close the connections."""
        _close(self._idle)

    def _take(self) -> HTTPConnection:
        """Take a connection that is kept and on which nothing was said since, or make one."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.sock is not None and not wait_for_read(connection.sock, timeout=0):
                return connection
            connection.close()
        return HTTPConnection("127.0.0.1", self._port, timeout=self._seconds)


def _close(idle: deque[HTTPConnection]) -> None:
    while idle:
        idle.pop().close()
