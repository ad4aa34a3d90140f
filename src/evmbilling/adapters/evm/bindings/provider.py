"""The part of the provider for contracts bound by configuration: :class:`evmbilling.ports.bindings.BindingProvider`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from evmbilling.adapters.evm.bindings.bindings import check_hopes, refund_approval, with_call
from evmbilling.adapters.evm.bindings.dry_run import dry_run
from evmbilling.adapters.evm.bindings.pins import Pins, read_pins
from evmbilling.adapters.evm.bindings.token_permits import ask_permit, permitted_payload
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.domain.catalogue.catalogue import Network, PaymentContract
from evmbilling.domain.catalogue.simulations import Simulation
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import ConfigurationError
from evmbilling.ports.chain import ChainSource

_NO_NODE: Final = "simulated"


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
        check_hopes(contract)

    def with_call(self, order: Order, contract: PaymentContract, token_id: int | None = None) -> Order:
        """Return an order with the call that pays it. Pure.

        ``token_id`` is the contract's own number of the membership, where it has given one.

        Raises:
            InputError: a value of the order does not fit its parameter; names the argument's path.

        """
        return with_call(order, contract, token_id)

    def refund_approval(self, refund: Refund, contract: PaymentContract, order: Order) -> WalletPayload | None:
        """Return what a treasury sends before the contract's call that gives money back; None for nothing. Pure.

        Raises:
            ProviderError: the binding has no such call.

        """
        return refund_approval(refund, order, contract)

    def read_pins(self, network: Network, addresses: Sequence[str]) -> Pins:
        """Return (address, code hash) pairs of these contracts and of what stands behind proxies.

        A source that is no node has no code: its mark says so.

        Raises:
            RpcUnavailable: no node answered.

        """
        source = self.chain(network)
        if not isinstance(source, EvmChainSource):
            return tuple((address, _NO_NODE) for address in addresses)
        source.check_chain()
        return read_pins(source.rpc, addresses)

    def permit_typed_data_of(self, order: Order, contract: PaymentContract, network: Network) -> dict[str, Any]:
        """Return what a payer signs to pay, as the token wants it now: ERC-2612, ERC-3009 or Permit2.

        Raises:
            Conflict: the binding or the token takes none, or it was used.
            ChainMismatch: the token's domain is not its own.
            RpcUnavailable: no node answered.

        """
        return ask_permit(self._node(network).rpc, order, contract).typed_data

    def permitted_payload(
        self, order: Order, contract: PaymentContract, network: Network, signature: bytes
    ) -> WalletPayload:
        """Return the call that pays with the payer's signature in it.

        Raises:
            ChallengeRefused: it is not the payer's signature of what the token wants now.
            Conflict, ChainMismatch, RpcUnavailable: as :meth:`permit_typed_data_of`.

        """
        return permitted_payload(self._node(network).rpc, order, contract, signature)

    def simulate(
        self, order: Order, contract: PaymentContract, network: Network, *, signed: bool = False
    ) -> Simulation:
        """Try a call as the chain stands now: encode it, ask a node, measure its gas, and read what it would emit.

        ``signed`` tries the call that takes the payer's signature, where there is another without one.

        Raises:
            RpcUnavailable: no node answered.
            Conflict: there is no call that takes a signature, or the token takes none.
            ConfigurationError: the network is not read from a node.

        """
        return dry_run(self._node(network).rpc, order, contract, signed=signed)

    def _node(self, network: Network) -> EvmChainSource:
        source = self.chain(network)
        if not isinstance(source, EvmChainSource):
            raise ConfigurationError(f"{network.name} is not read from a node", field="network")
        source.check_chain()
        return source
