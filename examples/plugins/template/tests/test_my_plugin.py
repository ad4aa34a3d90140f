"""The plugin passes the kit, found by its entry point as a host finds it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from evmbilling.plugins import PluginManager
from evmbilling.testing.conformance import NotifierConformance


class Lines:
    """The other end of the notifier: the file, read as its receiver would."""

    def __init__(self, path, monkeypatch):
        self.path, self.patch = path, monkeypatch

    def read(self):
        return [json.loads(line) for line in self.path.read_bytes().splitlines()] if self.path.exists() else []

    def names(self):
        return [message["id"] for message in self.read()]

    def data(self):
        return [message["data"] for message in self.read()]

    def refuse_next(self, number):
        """Let the disk be full when the file is opened for the n-th time from now."""
        calls, really = itertools.count(1), Path.open

        def opened(path, *arguments, **named):
            if arguments[:1] == ("a",) and next(calls) == number:
                raise OSError(28, "No space left on device")
            return really(path, *arguments, **named)

        self.patch.setattr(Path, "open", opened)


class TestMyPlugin(NotifierConformance):
    capabilities = frozenset({"breakable", "carries_data"})

    @pytest.fixture
    def outlet(self, tmp_path, monkeypatch):
        return Lines(tmp_path / "events.jsonl", monkeypatch)

    @pytest.fixture
    def notifier(self, outlet):
        manager = PluginManager()
        manager.load(["my_plugin"])
        return manager.notifiers.build("lines", {"path": str(outlet.path)})
