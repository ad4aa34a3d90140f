"""A connection to exactly the addresses that were judged, and a deadline for everything on it."""

from __future__ import annotations

import http.client
import io
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from evmbilling.domain.messages.targets import Address, Target, is_public

Resolver = Callable[[str, int], Sequence[Address]]
_MOST_ADDRESSES: Final = 16


class Refused(Exception):
    """The host leads where webhooks do not go; the text names no address."""


def resolve(host: str, port: int) -> Sequence[Address]:
    """Return the addresses of a host as the system resolves it, each once.

    Raises:
        OSError: it has none.

    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def open_connection(
    target: Target,
    addresses: Sequence[Address],
    *,
    excepted: bool,
    deadline: float,
    tls: ssl.SSLContext,
) -> http.client.HTTPConnection:
    """Return a connection that will be made to one of these addresses and to nothing else.

    Raises:
        Refused: there is none, or one of them is not public and the target is not excepted: a name that mixes both is
            an attack or a mistake.

    """
    if not addresses:
        raise Refused("the host has no address")
    if not excepted and not all(is_public(address) for address in addresses):
        raise Refused("the host has an address that is not public")
    return _Pinned(target, addresses[:_MOST_ADDRESSES], deadline, tls)


class _Pinned(http.client.HTTPConnection):
    """HTTP or HTTPS over a socket that goes to given addresses; it never resolves anything."""

    def __init__(self, target: Target, addresses: Sequence[Address], deadline: float, tls: ssl.SSLContext) -> None:
        super().__init__(target.host, target.port)
        self._target, self._addresses, self._deadline, self._tls = target, addresses, deadline, tls

    def connect(self) -> None:
        """Connect to the first address that takes a connection."""
        raw = self._first()
        try:
            if self._target.secure:
                raw.settimeout(_left(self._deadline))
                raw = self._tls.wrap_socket(raw, server_hostname=self._target.host)
        except BaseException:
            raw.close()
            raise
        self.sock = _Bounded(raw, self._deadline)

    def _first(self) -> socket.socket:
        failure: OSError | None = None
        for address in self._addresses:
            try:
                return socket.create_connection((str(address), self._target.port), timeout=_left(self._deadline))
            except OSError as error:
                failure = error
        raise failure or OSError("no address")


class _Bounded:
    """A socket whose every read and write ends at the deadline: a receiver that drips is as dead as a silent one."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def sendall(self, data: Any) -> None:
        self._sock.settimeout(_left(self._deadline))
        self._sock.sendall(data)

    def makefile(self, *_args: Any, **_options: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock, self._deadline))

    def close(self) -> None:
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock, self._deadline = sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
