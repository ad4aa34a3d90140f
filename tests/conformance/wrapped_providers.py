"""What mutants of the kits on a node have in common: the built-in provider, wrapped."""

from __future__ import annotations

import pytest

from evmbilling.adapters.evm.provider import EvmProvider
from evmbilling.testing.conformance import BindingConformance, DepositConformance, MandateConformance


class Wrapped:
    """A provider that is like the built-in one but for what its subclass does."""

    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)


class OverBuiltIn:
    """A mutant of the built-in provider, on a node."""

    kind = Wrapped

    @pytest.fixture
    def make_provider(self):
        return lambda **lent: type(self).kind(EvmProvider(**lent))


class Pulls(OverBuiltIn, MandateConformance):
    """Holds it to the kit of mandates."""


class Binds(OverBuiltIn, BindingConformance):
    """Holds it to the kit of bindings."""


class Collects(OverBuiltIn, DepositConformance):
    """Holds it to the kit of deposit addresses."""


FACES = (Pulls, Binds, Collects)
