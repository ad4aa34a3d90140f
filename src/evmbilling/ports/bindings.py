"""Contracts that are bound by configuration: what a provider must be able to do with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from evmbilling.domain.catalogue import Network, PaymentContract
from evmbilling.domain.orders import Order
from evmbilling.domain.simulations import Simulation


@runtime_checkable
class BindingProvider(Protocol):
    """A provider that sells through any contract, beside what every provider does.

    Only :meth:`read_pins` and :meth:`simulate` touch the network.
    """

    def check_binding(self, contract: PaymentContract) -> None:
        """Check templates and mappings of a contract against its ABI. Pure.

        Raises:
            InputError: something does not fit; names the place (``mint_method.args[2].items[0]``).
            ConfigurationError: the ABI is malformed.

        """
        ...

    def with_call(self, order: Order, contract: PaymentContract) -> Order:
        """Return an order with the call that pays it. Pure.

        Raises:
            InputError: a value of the order does not fit its parameter; names the argument's path.

        """
        ...

    def read_pins(self, network: Network, addresses: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Return (address, code hash) pairs of these contracts and of what stands behind proxies.

        Raises:
            RpcUnavailable: no node answered.

        """
        ...

    def simulate(self, order: Order, contract: PaymentContract, network: Network) -> Simulation:
        """Try a call as the chain stands now: encode it, ask a node, measure its gas, and read what it would emit.

        Raises:
            RpcUnavailable: no node answered.

        """
        ...
