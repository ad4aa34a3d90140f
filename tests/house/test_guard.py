"""A killed test run leaves no chain and no database behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evmbilling.testing._guard import Guard

RUN = """
import signal
import sys
from pathlib import Path
from evmbilling.testing.anvil import AnvilNode
from evmbilling.testing.postgres import PostgresServer

signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background hands down that it is ignored
with AnvilNode() as node, PostgresServer() as server:
    socket = Path(server.url("x").partition("host=")[2].replace("%2F", "/"))
    print(node.pid, (socket / "postmaster.pid").read_text().split()[0], socket.parent, flush=True)
    sys.stdin.read()
"""


PATIENCE = 300
"""Seconds after which what should end is taken for lost; a machine with much else to do takes its time."""


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has ended too."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def eventually(condition) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "how",
    # The others leave it more time to end what it has started.
    [signal.SIGKILL, *(pytest.param(how, marks=pytest.mark.exhaustive) for how in (signal.SIGTERM, signal.SIGINT))],
    ids=lambda how: how.name,
)
def test_what_a_run_started_ends_with_it(how, monkeypatch):
    monkeypatch.delenv("EVMBILLING_TEST_POSTGRES_URL", raising=False)
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        chain, database, folder = run.stdout.readline().split()
        assert not gone(int(chain))
        assert not gone(int(database))
        run.send_signal(how)
        run.wait(PATIENCE)
        assert eventually(lambda: gone(int(chain)))
        assert eventually(lambda: gone(int(database)))
        assert eventually(lambda: not Path(folder.decode()).exists())


def test_released_guard_ends_nothing(tmp_path):
    with subprocess.Popen(["/bin/sh", "-c", "read -r _"], stdin=subprocess.PIPE) as process:
        guard = Guard(process.pid, folder=tmp_path)
        guard.release()
        guard.release()
        assert process.poll() is None
    assert process.returncode is not None
    assert tmp_path.is_dir()
