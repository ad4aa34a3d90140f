"""The provider passes the kit, found by its entry point, on Anvil."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from evmbilling.plugins import PluginManager
from evmbilling.ports.provider import Provider
from evmbilling.testing.conformance import ProviderConformance


class TestReceiptsProvider(ProviderConformance):
    capabilities = frozenset({"json_rpc"})

    @pytest.fixture
    def make_provider(self) -> Callable[..., Provider]:
        manager = PluginManager()
        manager.load(["receipts_provider"])
        return lambda **lent: manager.providers.build("receipts", None, **lent)
