"""Contracts that are bound by configuration: what a provider must be able to do with them.

Clauses of the contract; ``evmbilling.testing.conformance.BindingConformance`` holds a provider that sells through any
contract to each of them:

1. ``check_binding`` takes what fits the ABI and refuses the rest by the name of its place; a name that two methods or
   two events have is ambiguous and refused; an ABI that is none is a ConfigurationError.
2. ``with_call`` puts every value of the order where the template says, the same bytes every time, asks nobody and
   changes nothing else of the order; a value that does not fit is refused by its place.
3. A log is decoded only when it is a bound event of the bound contract with the fields that its mapping asks for; what
   the event does not say is not made up, and the observation says how its order is found.
4. ``read_pins`` is the hash of the code that is there now and of what stands behind it; no node is an error.
5. ``simulate`` says whether the call would go through, what has to be allowed and whether it would be seen as a
   payment; nothing is sent, and no node is an error.
6. ``refund_approval`` allows the spender of a refund's call just the refund's amount of its token, and nothing where
   the binding asks for none or the coin is sent along; nobody is asked.
7. With ``permits``: the payer's signature of exactly what the token wants now goes into the call, and no other does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from evmbilling.domain.catalogue.catalogue import Network, PaymentContract
from evmbilling.domain.catalogue.simulations import Simulation
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.domain.selling.orders import Order


@runtime_checkable
class BindingProvider(Protocol):
    """A provider that sells through any contract, beside what every provider does.

    Only :meth:`check_binding`, :meth:`with_call` and :meth:`refund_approval` do not touch the network.
    """

    def check_binding(self, contract: PaymentContract) -> None:
        """Check templates and mappings of a contract against its ABI. Pure.

        Raises:
            InputError: something does not fit; names the place (``mint_method.args[2].items[0]``).
            ConfigurationError: the ABI is malformed.

        """
        ...

    def with_call(self, order: Order, contract: PaymentContract, token_id: int | None = None) -> Order:
        """Return an order with the call that pays it. Pure.

        ``token_id`` is the contract's own number of the membership, where it has given one.

        Raises:
            InputError: a value of the order does not fit its parameter; names the argument's path.

        """
        ...

    def refund_approval(self, refund: Refund, contract: PaymentContract, order: Order) -> WalletPayload | None:
        """Return what a treasury sends before the contract's call that gives money back; None for nothing. Pure.

        Raises:
            ProviderError: the binding has no such call.

        """
        ...

    def read_pins(self, network: Network, addresses: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Return (address, code hash) pairs of these contracts and of what stands behind proxies.

        Every address that was asked about is in the answer, with empty text where there is no code. Where nothing is
        read from a node, any other text stands for the code.

        Raises:
            RpcUnavailable: no node answered.

        """
        ...

    def permit_typed_data_of(self, order: Order, contract: PaymentContract, network: Network) -> dict[str, Any]:
        """Return what a payer signs to pay, as the token wants it now: ERC-2612, ERC-3009 or Permit2.

        Raises:
            Conflict: the binding or the token takes none, or it was used.
            ChainMismatch: the token's domain is not its own.
            RpcUnavailable: no node answered.

        """
        ...

    def permitted_payload(
        self, order: Order, contract: PaymentContract, network: Network, signature: bytes
    ) -> WalletPayload:
        """Return the call that pays with the payer's signature in it.

        Raises:
            ChallengeRefused: it is not the payer's signature of what the token wants now.
            Conflict, ChainMismatch, RpcUnavailable: as :meth:`permit_typed_data_of`.

        """
        ...

    def simulate(
        self, order: Order, contract: PaymentContract, network: Network, *, signed: bool = False
    ) -> Simulation:
        """Try a call as the chain stands now: encode it, ask a node, measure its gas, and read what it would emit.

        ``signed`` tries the call that takes the payer's signature, where there is another without one.

        Raises:
            Conflict: there is no call that takes a signature, or the token takes none.
            RpcUnavailable: no node answered.

        """
        ...
