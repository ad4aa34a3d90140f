"""The part of the provider for contracts bound by configuration: :class:`evmbilling.ports.bindings.BindingProvider`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from evmbilling.adapters.evm.bindings import binding_of, with_call
from evmbilling.adapters.evm.dry_run import dry_run
from evmbilling.adapters.evm.pins import Pins, read_pins
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.domain.catalogue import Network, PaymentContract
from evmbilling.domain.orders import Order
from evmbilling.domain.simulations import Simulation
from evmbilling.errors import ConfigurationError
from evmbilling.ports.chain import ChainSource


class ContractsByConfiguration:
    """Any contract, by its ABI, a call template and event mappings."""

    @abstractmethod
    def chain(self, network: Network) -> ChainSource:
        """Return the shared source for a network."""

    def check_binding(self, contract: PaymentContract) -> None:
        """Check templates and mappings of a contract against its ABI. Pure.

        Raises:
            InputError: something does not fit; names the place (``mint_method.args[2].items[0]``).
            ConfigurationError: the ABI is malformed.

        """
        binding_of(contract)

    def with_call(self, order: Order, contract: PaymentContract) -> Order:
        """Return an order with the call that pays it. Pure.

        Raises:
            InputError: a value of the order does not fit its parameter; names the argument's path.

        """
        return with_call(order, contract)

    def read_pins(self, network: Network, addresses: Sequence[str]) -> Pins:
        """Return (address, code hash) pairs of these contracts and of what stands behind proxies.

        A source that is no node has no code to pin.

        Raises:
            RpcUnavailable: no node answered.

        """
        source = self.chain(network)
        if not isinstance(source, EvmChainSource):
            return ()
        source.check_chain()
        return read_pins(source.rpc, addresses)

    def simulate(self, order: Order, contract: PaymentContract, network: Network) -> Simulation:
        """Try a call as the chain stands now: encode it, ask a node, measure its gas, and read what it would emit.

        Raises:
            RpcUnavailable: no node answered.
            ConfigurationError: the network is not read from a node.

        """
        source = self.chain(network)
        if not isinstance(source, EvmChainSource):
            raise ConfigurationError(f"{network.name} is not read from a node", field="network")
        source.check_chain()
        return dry_run(source.rpc, order, contract)
