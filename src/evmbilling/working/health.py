"""A worker's own endpoint, on this machine only: is it well, and its metrics."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

from attrs import frozen

_LOOPBACK: Final = "127.0.0.1"
_JSON: Final = "application/json"


@frozen
class Page:
    """What a path answers."""

    status: int
    body: bytes
    content_type: str = _JSON


Pages = Mapping[str, Callable[[], Page]]


def document(status: int, value: object) -> Page:
    """Return a page of JSON."""
    return Page(status, json.dumps(value, indent=2).encode() + b"\n")


class HealthServer:
    """Serves pages by their exact path on the loopback address, in a thread of its own.

    Args:
        port: 0 for a free one; :attr:`port` says which.
        pages: what is served.

    Raises:
        OSError: the port is taken.

    """

    def __init__(self, port: int, pages: Pages) -> None:
        self._server = ThreadingHTTPServer((_LOOPBACK, port), _handler(pages))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="evmbilling-health", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        server_version = "evmbilling"
        sys_version = ""

        def do_GET(self) -> None:
            """Answer one of the pages."""
            make = pages.get(self.path.partition("?")[0])
            page = document(404, {"status": "not found", "pages": sorted(pages)}) if make is None else make()
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  - the standard library's name
            """Say nothing: probes come every few seconds."""

    return Handler
