"""Plugins to load, and a folder of installed distributions."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from evmbilling.plugins import PluginManager

CASES = 2
"""So many cases of a standard test are enough for an example, whose rules are those of one that runs them all."""
PART = 3
"""Each so many-th of the standard tests is: our own storages and our own provider run all of them, those that
demonstrate a fault row among them, in every run."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most of what an example storage or provider is held to to ``nox -s everything`` and ``nox -s plugins``."""
    met = Counter[str]()
    for item in items:
        if isinstance(item, pytest.Function) and getattr(item.cls, "few_cases", False):
            met[item.originalname] += 1
            part = hashlib.sha256(item.originalname.encode()).digest()[0] % PART == 0
            if not part or met[item.originalname] > CASES:
                item.add_marker(pytest.mark.exhaustive)


@pytest.fixture
def manager() -> PluginManager:
    return PluginManager()


@pytest.fixture
def canary() -> str:
    return "canary-6f1d0c55e2"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a distribution with one module and one entry point where importlib.metadata finds it."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(distribution: str, name: str, source: str, *, module: str | None = None) -> None:
        module = module or f"module_of_{distribution.replace('-', '_')}"
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / f"{module}.py").write_text(source)
        folder = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (folder / "entry_points.txt").write_text(f"[evmbilling]\n{name} = {module}\n")
        (folder / "top_level.txt").write_text(f"{module}\n")

    return put
