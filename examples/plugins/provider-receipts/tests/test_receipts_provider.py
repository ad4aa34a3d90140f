"""The provider passes the kit, found by its entry point, on Anvil."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from evmbilling.plugins import PluginManager
from evmbilling.ports.provider import Provider
from evmbilling.testing.conformance import ProviderConformance


@cache
def loaded() -> PluginManager:
    """Find the plugin once: looking through everything that is installed takes longer than a test."""
    manager = PluginManager()
    manager.load(["receipts_provider"])
    return manager


class TestReceiptsProvider(ProviderConformance):
    capabilities = frozenset({"json_rpc"})

    @pytest.fixture
    def make_provider(self) -> Callable[..., Provider]:
        manager = loaded()
        return lambda **lent: manager.providers.build("receipts", None, **lent)
