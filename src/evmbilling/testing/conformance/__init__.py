"""Conformance kits: one for each hook, and for what a provider can do beyond it, to be subclassed by plugin authors.

Each kit holds the standard tests of one port::

    from evmbilling.testing.conformance import QuotaConformance


    class TestMine(QuotaConformance):
        @pytest.fixture
        def backend(self): ...

What a plugin can do beyond the contract is declared in ``capabilities``, by name. A standard test that fails says
which clause of the contract it is about; one that is replaced is refused unless :func:`deviates` says why.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evmbilling.testing.conformance.base import Kit, deviates
    from evmbilling.testing.conformance.notifier import NotifierConformance
    from evmbilling.testing.conformance.provider.bindings import BindingConformance
    from evmbilling.testing.conformance.provider.deposits import DepositConformance
    from evmbilling.testing.conformance.provider.kit import ProviderConformance
    from evmbilling.testing.conformance.provider.mandates import MandateConformance
    from evmbilling.testing.conformance.quota import QuotaConformance
    from evmbilling.testing.conformance.signer import SignerConformance
    from evmbilling.testing.conformance.storage.kit import StorageConformance

_HOMES = {
    "BindingConformance": "provider.bindings",
    "DepositConformance": "provider.deposits",
    "Kit": "base",
    "MandateConformance": "provider.mandates",
    "NotifierConformance": "notifier",
    "ProviderConformance": "provider.kit",
    "QuotaConformance": "quota",
    "SignerConformance": "signer",
    "StorageConformance": "storage.kit",
    "deviates": "base",
}

__all__ = [
    "BindingConformance",
    "DepositConformance",
    "Kit",
    "MandateConformance",
    "NotifierConformance",
    "ProviderConformance",
    "QuotaConformance",
    "SignerConformance",
    "StorageConformance",
    "deviates",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
