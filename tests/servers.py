"""Applications behind real servers, each in a process of its own with one worker."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

WAIT = 60


def command(server: str, folder: Path, factory: str, listening: int) -> list[str]:
    """Return how a server is started over a listening socket that it inherits; ``factory`` is ``module:function``."""
    if server == "uvicorn":
        more = ["--factory", "--app-dir", str(folder), "--fd", str(listening), "--log-level", "warning"]
        return [sys.executable, "-m", "uvicorn", factory, *more]
    more = ["--pythonpath", str(folder), "--bind", f"fd://{listening}", "--workers", "1", "--threads", "8"]
    return [sys.executable, "-m", "gunicorn", f"{factory}()", *more, "--log-level", "warning"]


@contextmanager
def served(server: str, folder: Path, factory: str, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """Serve an application on a free port of loopback, and give the port."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        listening.set_inheritable(True)
        # Who is handed a socket does not know its protocol, and so leaves every answer to Nagle: 40 ms each.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        process = subprocess.Popen(
            command(server, folder, factory, listening.fileno()),
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)} | dict(environment or {}),
            pass_fds=[listening.fileno()],
        )
        try:
            port = listening.getsockname()[1]
            _wait(process, port)
            yield port
        finally:
            process.terminate()
            process.wait(WAIT)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a request is answered; connections are taken before anybody answers them."""
    until = time.monotonic() + WAIT
    while process.poll() is None and time.monotonic() < until:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as asked:
            asked.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            if asked.recv(16).startswith(b"HTTP/1.1"):
                return
    raise RuntimeError(f"the server did not start: {process.args}")
