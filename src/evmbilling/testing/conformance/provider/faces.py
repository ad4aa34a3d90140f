"""Standard tests of the provider kit: what a provider can do beside selling is held to a kit as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from evmbilling.ports.bindings import BindingProvider
from evmbilling.ports.deposits import DepositProvider
from evmbilling.ports.mandates import MandateProvider
from evmbilling.testing.conformance.base import Kit
from evmbilling.testing.conformance.provider.base import ProviderKit
from evmbilling.testing.conformance.provider.bindings import BindingConformance
from evmbilling.testing.conformance.provider.deposits import DepositConformance
from evmbilling.testing.conformance.provider.ground import NOBODY, MakeProvider, no_signer
from evmbilling.testing.conformance.provider.mandates import MandateConformance

KITS: Mapping[type, type[Kit]] = {
    MandateProvider: MandateConformance,
    BindingProvider: BindingConformance,
    DepositProvider: DepositConformance,
}
"""The kit of each face that a provider may have."""


class FacesChecks(ProviderKit):
    """What the engine would find by looking at the provider's methods."""

    clause: ClassVar[int] = 15

    def test_what_else_it_can_do_passes_the_kit_of_that(self, make_provider: MakeProvider) -> None:
        provider = make_provider(signer_for=no_signer, reveal=lambda _: NOBODY)
        held = {own.port for own in self.faces if own not in KITS.values()}
        for face, kit in KITS.items():
            assert not isinstance(provider, face) or face in held, (
                f"{type(provider).__name__} has the operations of a {face.__name__}, so the engine uses them: subclass "
                f"{kit.__name__} too, and name your class in `faces` of {type(self).__name__}"
            )
        provider.close()
