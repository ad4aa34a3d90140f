"""The backend passes the kit, found by its entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path

import pytest
from file_quota import FileQuota

from evmbilling.plugins import PluginManager
from evmbilling.ports.quota import QuotaBackend
from evmbilling.testing.conformance import QuotaConformance


@cache
def loaded() -> PluginManager:
    """Find the plugin once: looking through everything that is installed takes longer than a test."""
    manager = PluginManager()
    manager.load(["file_quota"])
    return manager


class TestFileQuota(QuotaConformance):
    capabilities = frozenset({"breakable", "many_processes"})

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "quota.db"

    @pytest.fixture
    def backend(self, path: Path) -> QuotaBackend:
        manager = loaded()
        return manager.quotas.build("file", {"path": str(path)})

    @pytest.fixture
    def reopen(self, path: Path) -> Callable[[], QuotaBackend]:
        return partial(FileQuota, str(path))

    @pytest.fixture
    def cut_off(self, path: Path) -> Callable[[], AbstractContextManager[None]]:
        @contextmanager
        def cut() -> Iterator[None]:
            away = path.rename(path.with_suffix(".away"))
            path.mkdir()
            yield
            path.rmdir()
            away.rename(path)

        return cut
