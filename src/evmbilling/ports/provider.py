"""Payment providers: how an order becomes a wallet payload, and a log becomes an observation. Providers speak EVM.

Clauses of the contract, that of :mod:`evmbilling.ports.chain` among them;
``evmbilling.testing.conformance.ProviderConformance`` holds a provider to each of them:

1. What a wallet is given (typed data, signature, payload, link) is the same bytes every time, needs no network, and
   pays this order, in this asset, to this contract.
2. Headers have a number, a hash, a parent and a time, and link up; tags are behind the head; above it there is nothing.
3. ``logs`` returns every watched log of exactly the blocks that are asked, in chain order, of transactions that
   succeeded; ``ordinal`` counts within a receipt, ``log_index`` within a block.
4. After a reorganisation the same movement has the same identity and other evidence; what was dropped is gone; a block
   that is no longer there is an error, never an empty answer; what is pending is in no block.
5. ``watch`` covers what the merchant is paid by and nothing else; a log is decoded only when it is the bound contract's
   own event, or a token's own ERC-20 transfer.
6. A signature is for one order on one chain and one contract; another chain behind the url is WrongChain.
7. ``tip`` is one moment of the chain; ``common_ancestor`` is the last block that stayed; the ranges of ``scan`` are the
   whole, in order, and say the same as ``logs``.
8. A node that fails at any call is a ProviderError, or the answer is whole: never a part of it.
9. ``balance`` is of the block that is asked, of the token that is asked, and an error where the block is not there.
10. ``verify_signature`` takes a key's own signature over exactly the digest, and no other; so does
    ``is_key_signature``.
11. ``pay_instructions`` hand out the order's payload while it can be paid, and never raise: a node that does not answer
    is the problem ``rpc_unknown``. With ``asks``: they say what stands in the way, as the chain is now.
12. With ``asks``: ``inspect_contract`` and ``inspect_plan`` say every difference between what is bound or priced and
    what the chain has, and nothing where there is none.
13. ``refund_payload`` gives back exactly the refund's amount to its address, and through the contract under its name;
    ``burn_payload`` ends the membership of that order.
14. With ``sends``: what a transmitter signs is for one chain, nonce and purpose; what a node says to a sending is an
    outcome, never an error; what is mined is told with its block while that is canonical, and what failed as failed;
    what waits to be mined is counted up to the first gap, over every node, and a count that cannot be is none.
15. What else it has the operations of (:class:`MandateProvider`, :class:`BindingProvider`, :class:`DepositProvider`)
    the engine uses, so it passes the kit of that as well.
16. ``transactions`` tells exactly what was signed, with the canonical block that holds it and whether it succeeded
    there; what is pending, or was dropped, has no block, and what nobody sent is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.reading.evidence import ChainLog, Observation, WatchSet
from evmbilling.domain.selling.offers import Challenge, PayInstructions, WalletPayload
from evmbilling.domain.selling.orders import Order
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.transmitter import Transmitter


class Provider(Protocol):
    """One way to be paid on EVM chains.

    Only :meth:`pay_instructions`, :meth:`inspect_plan`, :meth:`inspect_contract` and what :meth:`chain` returns touch
    the network.
    """

    def signer_address(self, gateway: PaymentGateway) -> str:
        """Return the address of the gateway's order-signing key.

        Raises:
            ConfigurationError: the key is not there.

        """
        ...

    def relayer_address(self, gateway: PaymentGateway) -> str:
        """Return the address of the gateway's relayer key, which can move money.

        Raises:
            ConfigurationError: the gateway has none, or this process does not hold it.

        """
        ...

    def transmitter(self, network: Network) -> Transmitter:
        """Return what sends our own transactions on a network.

        Raises:
            ConfigurationError: this provider sends nothing there.

        """
        ...

    def typed_data(self, order: Order) -> dict[str, Any]:
        """Return the order as EIP-712 typed data for the contract that it is bound to. Pure."""
        ...

    def sign(self, order: Order, gateway: PaymentGateway) -> tuple[str, bytes]:
        """Sign the order with the gateway's key; return (signer address, 65-byte signature)."""
        ...

    def challenge(self, order: Order) -> Challenge | None:
        """Return the signed challenge of an order, byte for byte the same every time; None where nothing is signed."""
        ...

    def payload(self, order: Order) -> WalletPayload | None:
        """Return the transaction that pays the order, byte for byte the same every time. Pure.

        None where the payer has to sign first: then :class:`evmbilling.ports.bindings.BindingProvider` makes it.
        """
        ...

    def uri(self, order: Order) -> str | None:
        """Return an ERC-681 link, or None where that standard cannot say the payment. Pure."""
        ...

    def watch(
        self, contracts: Sequence[PaymentContract], *, tokens: Sequence[str] = (), treasuries: Sequence[str] = ()
    ) -> WatchSet:
        """Return what the reader must look for on one chain so that nothing is missed.

        Args:
            contracts: the bound contracts.
            tokens: addresses of the allowed tokens.
            treasuries: addresses whose transfers of these tokens are accounted for.

        """
        ...

    def decode_transfer(self, log: ChainLog) -> Observation | None:
        """Read a token's own ERC-20 ``Transfer`` (``payer`` sent, ``treasury`` got); None for anything else. Pure."""
        ...

    def refund_payload(
        self, refund: Refund, contract: PaymentContract | None, order: Order | None = None
    ) -> WalletPayload:
        """Return the transaction by which the treasury gives money back. Pure."""
        ...

    def burn_payload(self, order: Order, contract: PaymentContract, token_id: int | None = None) -> WalletPayload:
        """Return the transaction by which the contract's operator burns the membership that an order paid for. Pure.

        ``token_id`` is the contract's own number of the membership, where it has given one.
        """
        ...

    def decode(self, log: ChainLog, contract: PaymentContract) -> Observation | None:
        """Read a log of the bound contract; None when it is not an event that moves money for us. Pure.

        The log's address is compared with the contract's, and topic0 together with the number of topics.
        """
        ...

    def is_key_signature(self, address: str, digest: bytes, signature: bytes) -> bool:
        """Say whether the key of an address signed a 32-byte digest; no chain is asked."""
        ...

    def verify_signature(self, network: Network, address: str, digest: bytes, signature: bytes) -> bool:
        """Say whether an address signed a 32-byte digest: a key (also behind EIP-7702), ERC-1271, ERC-6492.

        A key's own 65-byte signature is checked without the network; the chain is asked about contracts only.

        Raises:
            RpcUnavailable: the chain had to be asked and no node answered.

        """
        ...

    def chain(self, network: Network) -> ChainSource:
        """Return the (shared) source for a network."""
        ...

    def pay_instructions(self, order: Order, network: Network) -> PayInstructions:
        """Ask the chain what stands in the way of paying. A dead node is a problem, not an error."""
        ...

    def inspect_plan(self, plan: SubscriptionPlan, networks: Mapping[str, Network]) -> Sequence[str]:
        """Compare the pinned token decimals and the bound code with the chain; return differences in words.

        Raises:
            RpcUnavailable: no node answered.

        """
        ...

    def inspect_contract(
        self, contract: PaymentContract, network: Network, gateway: PaymentGateway | None = None
    ) -> Sequence[str]:
        """Compare a bound contract's code, and whether it accepts a gateway's signer; return differences in words.

        Raises:
            RpcUnavailable: no node answered.

        """
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


@runtime_checkable
class OrderProver(Protocol):
    """A provider that can tell whether what an order asks for is what was signed, beside what every provider does."""

    def is_signed(self, order: Order) -> bool:
        """Whether an order's signature is its signer's over just these terms. Pure."""
        ...
