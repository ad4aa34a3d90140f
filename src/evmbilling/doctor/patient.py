"""What the checks look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.domain.reading.watching import Figures
from evmbilling.ports.provider import Provider
from evmbilling.ports.secrets import Secrets

if TYPE_CHECKING:
    from evmbilling.engine.context import Ports
    from evmbilling.factory import BillingEngine
    from evmbilling.settings import BillingSettings


class Patient:
    """An engine and the settings that it was built from; what is asked for more than once is asked once."""

    def __init__(self, settings: BillingSettings, engine: BillingEngine) -> None:
        self.settings = settings
        self.engine = engine

    @property
    def ports(self) -> Ports:
        """What the engine reaches the outside through."""
        return self.engine._ports  # noqa: SLF001  - a doctor looks inside

    @property
    def secrets(self) -> Secrets:
        """Opens secrets that are stored."""
        return self.ports.secrets

    @cached_property
    def figures(self) -> Figures:
        """What is counted in the database."""
        return self.engine.watch.figures()

    @cached_property
    def networks(self) -> Sequence[Network]:
        """The networks in use, by name."""
        with self.ports.storage.unit(write=False) as unit:
            return [network for network in unit.networks() if network.archived_at is None]

    @cached_property
    def gateways(self) -> Sequence[PaymentGateway]:
        """The gateways in use, by slug."""
        with self.ports.storage.unit(write=False) as unit:
            return [gateway for gateway in unit.gateways() if gateway.archived_at is None]

    @cached_property
    def contracts(self) -> Sequence[PaymentContract]:
        """The contracts in use on networks in use."""
        names = {network.name for network in self.networks}
        with self.ports.storage.unit(write=False) as unit:
            return [c for c in unit.contracts() if c.archived_at is None and c.network in names]

    @cached_property
    def plans(self) -> Sequence[SubscriptionPlan]:
        """The newest version of every plan that is sold."""
        with self.ports.storage.unit(write=False) as unit:
            return [plan for plan in unit.plans() if plan.archived_at is None]

    def network(self, name: str) -> Network | None:
        """Return a network in use."""
        return next((network for network in self.networks if network.name == name), None)

    def provider(self, network: Network) -> Provider:
        """Return what reads a network.

        Raises:
            ConfigurationError: its gateway names a provider that is not there.

        """
        names = [gateway.provider for gateway in self.gateways if network.name in gateway.networks]
        return self.ports.provider(names[0] if names else next(iter(self.ports.providers), "evm"))

    def sales(self) -> Iterator[tuple[PaymentGateway, Network]]:
        """Return every gateway with each network that it sells on."""
        for gateway in self.gateways:
            for name in gateway.networks:
                network = self.network(name)
                if network is not None:
                    yield gateway, network
