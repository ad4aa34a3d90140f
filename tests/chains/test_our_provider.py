"""Our own provider passes the kit that authors of providers use: on the fake chain, and on real nodes."""

from __future__ import annotations

import pytest

from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.testing.conformance import (
    BindingConformance,
    DepositConformance,
    MandateConformance,
    ProviderConformance,
)
from evmbilling.testing.conformance.provider.fields import FakeField


class Ours:
    @pytest.fixture
    def make_provider(self):
        return EvmProvider


class TestMandates(Ours, MandateConformance):
    capabilities = frozenset({"permit2"})


class TestBindings(Ours, BindingConformance):
    capabilities = frozenset({"permits"})


class TestDeposits(Ours, DepositConformance):
    """Deposit addresses."""


FACES = (TestMandates, TestBindings, TestDeposits)


class TestFakeChain(Ours, ProviderConformance):
    faces = FACES

    @pytest.fixture
    def field(self):
        made = FakeField(1, 20, strict=True)
        made.mine(20)
        return made


class TestAnvil(Ours, ProviderConformance):
    capabilities = frozenset({"asks", "json_rpc", "sends"})
    faces = FACES
