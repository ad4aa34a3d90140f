"""The Anvil process: how it is started, how it says that it serves, how it is ended."""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING

from evmbilling.errors import MissingTool, RpcUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evmbilling.testing._guard import Guard

_START_SECONDS = 20
_STOP_SECONDS = 5
_LISTENING = re.compile(r"^Listening on \S+:(\d+)$", re.MULTILINE)


def spawn(command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
    """Start Anvil, with all that it says going to an open file.

    Raises:
        MissingTool: the program does not run here.

    """
    try:
        return subprocess.Popen(  # noqa: S603  - the program that find_anvil chose
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise MissingTool(f"Anvil does not run on this machine: {error}") from error


def served_port(process: subprocess.Popen[bytes], words: Path) -> int:
    """Return the port on which a process that was just started serves, as its words say.

    Raises:
        RpcUnavailable: it ended, or said no port in twenty seconds.

    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        text = words.read_text(errors="replace")
        if listening := _LISTENING.search(text):
            return int(listening[1])
        if ended:
            raise RpcUnavailable(f"Anvil ended with status {process.returncode}: {text.strip()[-800:]}")
        time.sleep(0.002)
    raise RpcUnavailable(f"Anvil did not serve within {_START_SECONDS} seconds")


def end(process: subprocess.Popen[bytes], guard: Guard) -> None:
    """End a process that we started; also runs when its node is collected and at exit."""
    guard.release()
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
