"""The provider passes the kit, found by its entry point, on Anvil."""

from __future__ import annotations

import pytest

from evmbilling.plugins import PluginManager
from evmbilling.testing.conformance import ProviderConformance


class TestReceiptsProvider(ProviderConformance):
    capabilities = frozenset({"json_rpc"})

    @pytest.fixture
    def make_provider(self):
        manager = PluginManager()
        manager.load(["receipts_provider"])
        return lambda **lent: manager.providers.build("receipts", None, **lent)
