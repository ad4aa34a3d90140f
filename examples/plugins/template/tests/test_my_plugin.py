"""The plugin passes the kit, found by its entry point as a host finds it."""

from __future__ import annotations

import json

import pytest

from evmbilling.plugins import PluginManager
from evmbilling.testing.conformance import NotifierConformance


class Lines:
    """The other end of the notifier: the file, read as its receiver would."""

    def __init__(self, path):
        self.path = path

    def read(self):
        return [json.loads(line) for line in self.path.read_text().split("\n")[:-1]] if self.path.exists() else []

    def names(self):
        return [message["id"] for message in self.read()]

    def data(self):
        return [message["data"] for message in self.read()]

    def refuse_next(self, number):
        raise NotImplementedError("only asked for with the capability 'breakable'")

    def refuse_for_good(self):
        raise NotImplementedError("only asked for with the capability 'permanent_failure'")


class TestMyPlugin(NotifierConformance):
    capabilities = frozenset({"carries_data"})

    @pytest.fixture
    def outlet(self, tmp_path):
        return Lines(tmp_path / "events.jsonl")

    @pytest.fixture
    def notifier(self, outlet):
        manager = PluginManager()
        manager.load(["my_plugin"])
        return manager.notifiers.build("lines", {"path": str(outlet.path)})
