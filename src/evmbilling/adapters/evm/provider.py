"""The built-in payment provider: signed orders for the Checkout contract, plain token transfers, and mandates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from evmbilling.adapters.evm.abi.calldata import SIGNATURE_BYTES, pay_call
from evmbilling.adapters.evm.abi.events import (
    CHARGED,
    MANDATE_GIVEN,
    MANDATE_REVOKED,
    PAID,
    REFUNDED,
    decode_burned,
    decode_mandates,
    decode_paid,
    decode_refunded,
    decode_transfer,
)
from evmbilling.adapters.evm.bindings.bindings import binding_of, call_payload, end_payload, read_mapped
from evmbilling.adapters.evm.bindings.call_instructions import call_instructions
from evmbilling.adapters.evm.bindings.inspection import inspect_contract, inspect_prices
from evmbilling.adapters.evm.bindings.provider import ContractsByConfiguration
from evmbilling.adapters.evm.mandates.mandates import KIND as MANDATES
from evmbilling.adapters.evm.mandates.provider import MandatesByContract
from evmbilling.adapters.evm.nodes import EvmNodes, Reserve
from evmbilling.adapters.evm.paying.deposits import SWEPT, DepositsByContract, decode_swept, order_address, pay_deposit
from evmbilling.adapters.evm.paying.instructions import approval_of, ask_pay_state, problems_of
from evmbilling.adapters.evm.paying.links import erc681_transfer
from evmbilling.adapters.evm.paying.plain import RAIL, ask_transfer_state, transfer_payload, transfer_problems
from evmbilling.adapters.evm.paying.refunds import burn_payload, refund_payload
from evmbilling.adapters.evm.signing.signatures import recover_signer
from evmbilling.adapters.evm.signing.typed_data import order_digest, order_typed_data
from evmbilling.adapters.evm.signing.verification import is_contract_signature, is_key_signature
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.adapters.evm.transmitter import EvmTransmitter
from evmbilling.domain.catalogue.catalogue import MAPPED, Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.reading.evidence import ChainLog, Observation, WatchSet
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.selling.offers import Challenge, PayInstructions, Problem, WalletPayload
from evmbilling.domain.selling.orders import DEPOSIT, Order
from evmbilling.domain.states import PAYABLE_ORDERS
from evmbilling.errors import ConfigurationError, ProviderError
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.signer import Signer
from evmbilling.ports.telemetry import Telemetry
from evmbilling.ports.transmitter import Transmitter

KIND = "checkout"
_EVENTS = {KIND: (PAID, REFUNDED), MANDATES: (CHARGED, MANDATE_GIVEN, MANDATE_REVOKED), DEPOSIT: (SWEPT,)}
"""The events of each kind of contract that are worth keeping."""


@runtime_checkable
class DigestSigner(Protocol):
    """A signer that also signs a digest which we computed: ten times faster than from typed data."""

    def sign_digest(self, digest: bytes) -> bytes:
        """Sign 32 bytes; the same signature as from the typed data."""
        ...


class EvmSeller(EvmNodes):
    """Sells through the Checkout contract and by transfers (port :class:`evmbilling.ports.provider.Provider`).

    A provider with ``sources`` of its own extends this: it pulls, binds and sweeps nothing, which asks a node's calls.

    Args:
        signer_for: gives the signer behind a gateway's reference; called for every signature, so it should cache.
        reveal, sources, reserve, telemetry: as :class:`EvmNodes` says.

    """

    def __init__(
        self,
        *,
        signer_for: Callable[[SecretRef], Signer],
        reveal: Callable[[SecretRef], str],
        sources: Callable[[Network], ChainSource] | None = None,
        reserve: Reserve | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        super().__init__(reveal=reveal, sources=sources, reserve=reserve, telemetry=telemetry)
        self._signer_for = signer_for

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def signer_address(self, gateway: PaymentGateway) -> str:
        """Return the address of the gateway's order-signing key.

        Raises:
            ConfigurationError: the key is not there.

        """
        return self._signer_for(gateway.signer).address

    def relayer_address(self, gateway: PaymentGateway) -> str:
        """Return the address of the gateway's relayer key, which can move money.

        Raises:
            ConfigurationError: the gateway has none, or this process does not hold it.

        """
        if gateway.relayer is None:
            raise ConfigurationError(f"gateway {gateway.slug} has no relayer", field="relayer")
        return self._signer_for(gateway.relayer).address

    def transmitter(self, network: Network) -> Transmitter:
        """Return what sends our own transactions on a network: over its nodes, or the source itself if it can.

        Raises:
            ConfigurationError: neither.

        """
        source = self.chain(network)
        if isinstance(source, EvmChainSource):
            return EvmTransmitter(source.rpc, self._signer_for)
        make = getattr(source, "transmitter", None)
        if make is None:
            raise ConfigurationError(f"nothing can be sent on {network.name}", field="network")
        made: Transmitter = make(self._signer_for)
        return made

    def typed_data(self, order: Order) -> dict[str, Any]:
        """Return the order as EIP-712 typed data for the contract that it is bound to. Pure."""
        return order_typed_data(order)

    def sign(self, order: Order, gateway: PaymentGateway) -> tuple[str, bytes]:
        """Sign the order with the gateway's key; return (signer address, 65-byte signature).

        Raises:
            ConfigurationError: the key is not there.
            ProviderError: the signature does not recover to the signer: the contract would refuse every payment.

        """
        signer, digest = self._signer_for(gateway.signer), order_digest(order)
        if isinstance(signer, DigestSigner):
            return signer.address, signer.sign_digest(digest)
        signature = signer.sign_typed_data(order_typed_data(order))
        if recover_signer(digest, signature) != signer.address:
            raise ProviderError("the signature does not recover to the signer's address", field="signer")
        return signer.address, signature

    def is_signed(self, order: Order) -> bool:
        """Whether an order's signature is its signer's over just these terms. Pure."""
        return recover_signer(order_digest(order), order.signature) == order.signer

    def challenge(self, order: Order) -> Challenge | None:
        """Return the signed challenge of an order, byte for byte the same every time; None without one. Pure."""
        if order.rail != KIND:
            return None
        return Challenge(typed_data=order_typed_data(order), signature=_signature(order), signer=order.signer)

    def payload(self, order: Order) -> WalletPayload | None:
        """Return the call that pays: ``pay(order, signature)``, the token's ``transfer`` or what was configured. Pure.

        It is byte for byte the same every time; None for a call that the payer has to sign for first.
        """
        if order.rail == RAIL:
            return transfer_payload(order)
        if order.rail == DEPOSIT:
            return pay_deposit(order)
        if order.call is not None:
            return call_payload(order)
        return WalletPayload(
            chain_id=order.chain_id,
            to=order.contract,
            value=order.amount if order.asset.is_native else 0,
            data=pay_call(order, _signature(order)),
            gas=order.gas,
        )

    def uri(self, order: Order) -> str | None:
        """Return the ERC-681 link of a transfer; None for a contract, whose struct it cannot say. Pure."""
        receivers = {RAIL: lambda: order.treasury, DEPOSIT: lambda: order_address(order)}
        receiver = receivers.get(order.rail)
        return None if receiver is None else erc681_transfer(order.asset, receiver(), order.amount)

    def watch(
        self, contracts: Sequence[PaymentContract], *, tokens: Sequence[str] = (), treasuries: Sequence[str] = ()
    ) -> WatchSet:
        """Return the events of these contracts, from the first one's block on, and transfers of tokens.

        Raises:
            ConfigurationError: a contract is of a kind that this provider cannot read.

        """
        for contract in contracts:
            _check_kind(contract)
        emitting = [contract for contract in contracts if contract.kind in _EVENTS or contract.kind == MAPPED]
        topics = [topic for kind in _EVENTS if any(c.kind == kind for c in emitting) for topic in _EVENTS[kind]]
        bindings = [binding_of(contract) for contract in emitting if contract.kind == MAPPED]
        mapped = sorted({topic for binding in bindings for topic in binding.topics} - set(topics))
        speaking = {topic for binding in bindings for topic in binding.speaking}
        given = (MANDATE_GIVEN, MANDATE_REVOKED) if any(c.kind == MANDATES for c in emitting) else ()
        return WatchSet(
            addresses=tuple(sorted({contract.address for contract in emitting})),
            topics=(*topics, *mapped),
            start_block=min((contract.start_block for contract in emitting), default=0),
            tokens=tuple(sorted(set(tokens))) if treasuries else (),
            parties=tuple(sorted(set(treasuries))) if tokens else (),
            by_reference=True,
            unnamed=(*given, *(topic for binding in bindings for topic in binding.topics)),
            beside=tuple(topic for topic in mapped if topic not in speaking),
            burning=tuple(sorted({c.address for c in emitting if c.kind == KIND})),
        )

    def decode_transfer(self, log: ChainLog) -> Observation | None:
        """Read a token's own ERC-20 ``Transfer``; None for anything else. Pure."""
        return decode_transfer(log)

    def decode(self, log: ChainLog, contract: PaymentContract) -> Observation | None:
        """Read a log of the bound contract: what was paid, refunded, burned, or happened to a mandate; else None. Pure.

        Raises:
            ConfigurationError: the contract is of a kind that this provider cannot read.

        """
        _check_kind(contract)
        if contract.kind == MANDATES:
            return decode_mandates(log, contract)
        if contract.kind == MAPPED:
            return read_mapped(log, contract)
        if contract.kind == DEPOSIT:
            return decode_swept(log, contract)
        if contract.kind != KIND:
            return None
        return decode_paid(log, contract) or decode_refunded(log, contract) or decode_burned(log, contract)

    def refund_payload(
        self, refund: Refund, contract: PaymentContract | None, order: Order | None = None
    ) -> WalletPayload:
        """Return the call by which the treasury gives money back: the contract's ``refund``, or a transfer. Pure.

        Raises:
            ProviderError: the refund has no address yet, or no contract to go through.

        """
        return refund_payload(refund, contract, order)

    def burn_payload(self, order: Order, contract: PaymentContract, token_id: int | None = None) -> WalletPayload:
        """Return the call by which the operator or owner of the contract burns an order's membership token. Pure.

        ``token_id`` is the contract's own number of the membership, where it has given one.

        Raises:
            ProviderError: the contract burns nothing, the order gave no membership, or its number is not known.

        """
        return end_payload(order, contract, token_id) if contract.kind == MAPPED else burn_payload(order, contract)

    def pay_instructions(self, order: Order, network: Network) -> PayInstructions:
        """Ask the chain what stands in the way of paying. A dead node is a problem, not an error.

        There is a payload while the order is open and its reference is unused. Coins for gas are not looked at: a
        wallet knows who pays its gas.
        """
        is_open = order.status in PAYABLE_ORDERS
        payload = self.payload(order) if is_open else None
        if order.rail == DEPOSIT:
            # Whoever sends to the address, from wherever: there is nothing of theirs that could be looked at.
            return PayInstructions(ledger_id=order.ledger_id, payload=payload, approval=None, problems=())
        try:
            source = self.chain(network)
            if not isinstance(source, EvmChainSource):
                return _unknown(order, payload)
            if order.rail == RAIL:
                problems = tuple(transfer_problems(order, ask_transfer_state(source.rpc, order)))
                return PayInstructions(ledger_id=order.ledger_id, payload=payload, approval=None, problems=problems)
            if order.call is not None:
                return call_instructions(source.rpc, order, payload, is_open=is_open)
            state = ask_pay_state(source.rpc, order)
        except (ProviderError, ConfigurationError):
            return _unknown(order, payload)
        payload = None if state.used else payload
        return PayInstructions(
            ledger_id=order.ledger_id,
            payload=payload,
            approval=approval_of(order, state) if payload else None,
            problems=tuple(problems_of(order, state)),
        )

    def is_key_signature(self, address: str, digest: bytes, signature: bytes) -> bool:
        """Say whether the key of an address signed a 32-byte digest; no chain is asked."""
        return is_key_signature(address, digest, signature)

    def verify_signature(self, network: Network, address: str, digest: bytes, signature: bytes) -> bool:
        """Say whether an address signed a 32-byte digest: a key (also behind EIP-7702), ERC-1271, ERC-6492.

        Raises:
            RpcUnavailable: the chain had to be asked and no node answered.

        """
        if is_key_signature(address, digest, signature):
            return True
        source = self.chain(network)
        if not isinstance(source, EvmChainSource):
            return False
        return is_contract_signature(source.rpc, address, digest, signature)

    def inspect_plan(self, plan: SubscriptionPlan, networks: Mapping[str, Network]) -> Sequence[str]:
        """Compare the pinned token decimals with the chain, and what arrives of a price; return differences in words.

        A transfer of the price is tried on the node, not sent. Where it cannot be tried there is no difference.

        Raises:
            RpcUnavailable: no node answered.

        """
        return inspect_prices(plan, networks, self.chain)

    def inspect_contract(
        self, contract: PaymentContract, network: Network, gateway: PaymentGateway | None = None
    ) -> Sequence[str]:
        """Compare a bound contract's code, and whether it accepts a gateway's signer; return differences in words.

        Raises:
            RpcUnavailable: no node answered.

        """
        signer = self.signer_address(gateway) if gateway else None
        return inspect_contract(contract, network, self.chain, signer=signer)


class EvmProvider(EvmSeller, MandatesByContract, ContractsByConfiguration, DepositsByContract):
    """The built-in provider: sells, pulls by mandates, takes deposits, and binds any contract by configuration.

    Ports :class:`evmbilling.ports.mandates.MandateProvider`, :class:`evmbilling.ports.bindings.BindingProvider` and
    :class:`evmbilling.ports.deposits.DepositProvider` beside those of :class:`EvmSeller`.
    """


def _signature(order: Order) -> bytes:
    if len(order.signature) != SIGNATURE_BYTES:
        raise ProviderError("the order is not signed", field="signature")
    return order.signature


def _check_kind(contract: PaymentContract) -> None:
    if contract.kind not in (*_EVENTS, RAIL, MAPPED):
        raise ConfigurationError(f"contract {contract.slug}: the kind {contract.kind} is not known", field="kind")


def _unknown(order: Order, payload: WalletPayload | None) -> PayInstructions:
    problem = Problem(code="rpc_unknown", text="the network could not be asked; the payment may still go through")
    return PayInstructions(ledger_id=order.ledger_id, payload=payload, approval=None, problems=(problem,))
