"""The backend passes the kit, found by its entry point."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache, partial

import pytest
from file_quota import FileQuota

from evmbilling.plugins import PluginManager
from evmbilling.testing.conformance import QuotaConformance


@cache
def loaded():
    """Find the plugin once: looking through everything that is installed takes longer than a test."""
    manager = PluginManager()
    manager.load(["file_quota"])
    return manager


class TestFileQuota(QuotaConformance):
    capabilities = frozenset({"breakable", "many_processes"})

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "quota.db"

    @pytest.fixture
    def backend(self, path):
        manager = loaded()
        return manager.quotas.build("file", {"path": str(path)})

    @pytest.fixture
    def reopen(self, path):
        return partial(FileQuota, str(path))

    @pytest.fixture
    def cut_off(self, path):
        @contextmanager
        def cut():
            away = path.rename(path.with_suffix(".away"))
            path.mkdir()
            yield
            path.rmdir()
            away.rename(path)

        return cut
