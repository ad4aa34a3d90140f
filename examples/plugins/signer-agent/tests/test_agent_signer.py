"""The signer passes the kit, found by its entry point."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import cache

import pytest
from agent_signer.agent import Agent

from evmbilling.adapters.signers import LocalSigner
from evmbilling.plugins import PluginManager
from evmbilling.testing.conformance import SignerConformance

KEY = "0x" + "5e" * 32


@contextmanager
def serving(path):
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
def loaded():
    """Find the plugin once: looking through everything that is installed takes longer than a test."""
    manager = PluginManager()
    manager.load(["agent_signer"])
    return manager


class TestAgentSigner(SignerConformance):
    capabilities = frozenset({"breakable", "known_key"})

    @pytest.fixture
    def private_key(self):
        return KEY

    @pytest.fixture
    def secrets(self):
        return (KEY[2:],)

    @pytest.fixture
    def agent(self, tmp_path):
        path, running = tmp_path / "agent.sock", []

        def start():
            running.append(serving(path))
            running[-1].__enter__()

        def stop():
            running.pop().__exit__(None, None, None)

        start()
        yield path, start, stop
        stop()

    @pytest.fixture
    def signer(self, agent):
        manager = loaded()
        return manager.signers.build("agent", {"key": str(agent[0])})

    @pytest.fixture
    def lost_key(self, agent):
        _, start, stop = agent

        @contextmanager
        def lost():
            stop()
            yield
            start()

        return lost
