"""The plugin passes the kit, found by its entry point as a host finds it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from evmbilling.plugins import PluginManager
from evmbilling.ports.notifier import Notifier
from evmbilling.testing.conformance import NotifierConformance


class Lines:
    """The other end of the notifier: the file, read as its receiver would."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.patch = path, monkeypatch

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()] if self.path.exists() else []

    def names(self) -> list[str]:
        return [message["id"] for message in self.read()]

    def data(self) -> list[Any]:
        return [message["data"] for message in self.read()]

    def refuse_next(self, number: int) -> None:
        """Let the disk be full when the file is opened for the n-th time from now."""
        calls, really = itertools.count(1), Path.open

        def opened(path: Path, *arguments: Any, **named: Any) -> Any:
            if arguments[:1] == ("a",) and next(calls) == number:
                raise OSError(28, "No space left on device")
            return really(path, *arguments, **named)

        self.patch.setattr(Path, "open", opened)


class TestMyPlugin(NotifierConformance):
    capabilities = frozenset({"breakable", "carries_data"})

    @pytest.fixture
    def outlet(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lines:
        return Lines(tmp_path / "events.jsonl", monkeypatch)

    @pytest.fixture
    def notifier(self, outlet: Lines) -> Notifier:
        manager = PluginManager()
        manager.load(["my_plugin"])
        return manager.notifiers.build("lines", {"path": str(outlet.path)})
