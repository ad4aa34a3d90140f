"""The signer passes the kit, found by its entry point."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path

import pytest
from agent_signer.agent import Agent

from evmbilling.adapters.signers import LocalSigner
from evmbilling.plugins import PluginManager
from evmbilling.ports.signer import Signer
from evmbilling.testing.conformance import SignerConformance

KEY = "0x" + "5e" * 32
Served = tuple[Path, Callable[[], None], Callable[[], None]]
"""Where the agent listens, what starts it, and what stops it."""


@contextmanager
def serving(path: Path) -> Iterator[None]:
    with Agent(str(path), LocalSigner(KEY)) as agent:
        thread = threading.Thread(target=agent.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            agent.shutdown()
            thread.join()
    path.unlink(missing_ok=True)


@cache
def loaded() -> PluginManager:
    """Find the plugin once: looking through everything that is installed takes longer than a test."""
    manager = PluginManager()
    manager.load(["agent_signer"])
    return manager


class TestAgentSigner(SignerConformance):
    capabilities = frozenset({"breakable", "known_key"})

    @pytest.fixture
    def private_key(self) -> str:
        return KEY

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return (KEY[2:],)

    @pytest.fixture
    def agent(self, tmp_path: Path) -> Iterator[Served]:
        path = tmp_path / "agent.sock"
        running: list[AbstractContextManager[None]] = []

        def start() -> None:
            running.append(serving(path))
            running[-1].__enter__()

        def stop() -> None:
            running.pop().__exit__(None, None, None)

        start()
        yield path, start, stop
        stop()

    @pytest.fixture
    def signer(self, agent: Served) -> Signer:
        manager = loaded()
        return manager.signers.build("agent", {"key": str(agent[0])})

    @pytest.fixture
    def lost_key(self, agent: Served) -> Callable[[], AbstractContextManager[None]]:
        _, start, stop = agent

        @contextmanager
        def lost() -> Iterator[None]:
            stop()
            yield
            start()

        return lost
