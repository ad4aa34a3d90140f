"""The part of the provider that pulls: port :class:`evmbilling.ports.mandates.MandateProvider`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import attrs

from evmbilling.adapters.evm.mandates.consent import takes_permit, wallet_consent
from evmbilling.adapters.evm.mandates.mandates import (
    charge_payload,
    give_payload,
    mandate_digest,
    mandate_typed_data,
    revoke_payload,
)
from evmbilling.adapters.evm.mandates.preflight import ask_approvals, ask_charge_state, blind_approvals
from evmbilling.adapters.evm.signing.permit2 import permit_typed_data
from evmbilling.adapters.evm.signing.verification import is_key_signature
from evmbilling.adapters.evm.source import EvmChainSource
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.mandates.mandate_charges import Charge, ChargeState
from evmbilling.domain.mandates.mandates import Approvals, Mandate
from evmbilling.domain.selling.offers import WalletPayload
from evmbilling.errors import ConfigurationError, ProviderError
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.mandates import ChargeSource


class MandatesByContract:
    """Mandates of the Mandates contract, over an ERC-20 allowance or Permit2's."""

    @abstractmethod
    def chain(self, network: Network) -> ChainSource:
        """Return the shared source for a network."""

    def mandate_digest(self, mandate: Mandate) -> bytes:
        """Return the 32 bytes that the payer signs. Pure."""
        return mandate_digest(mandate)

    def mandate_typed_data(self, mandate: Mandate) -> dict[str, Any]:
        """Return the mandate as EIP-712 typed data. Pure."""
        return mandate_typed_data(mandate)

    def permit_typed_data(self, mandate: Mandate) -> dict[str, Any] | None:
        """Return Permit2's ``PermitSingle`` of the mandate as typed data; None when there is none to sign. Pure."""
        return None if mandate.permit is None else permit_typed_data(mandate, mandate.permit)

    def charge_payload(self, mandate: Mandate, charge: Charge) -> WalletPayload:
        """Return the operator's transaction that pulls the money. Pure."""
        return charge_payload(mandate, charge)

    def give_payload(self, mandate: Mandate) -> WalletPayload:
        """Return the transaction by which the payer gives the mandate on chain in place of signing it. Pure."""
        return give_payload(mandate)

    def revoke_payload(self, mandate: Mandate) -> WalletPayload:
        """Return the transaction by which the payer ends the mandate on chain. Pure."""
        return revoke_payload(mandate)

    def mandate_approvals(self, mandate: Mandate, network: Network, wanted: int) -> Approvals:
        """Say what the payer has to allow so that ``wanted`` base units can be pulled. A dead node is a problem."""
        try:
            source = self.chain(network)
            if isinstance(source, EvmChainSource):
                return ask_approvals(source.rpc, mandate, wanted)
        except (ProviderError, ConfigurationError):
            pass
        return blind_approvals(mandate, wanted)

    def accept_consent(self, mandate: Mandate, network: Network, signature: bytes) -> bytes | None:
        """Return the payer's signature as the contract takes it; None when the contract would refuse it.

        Raises:
            RpcUnavailable: the chain had to be asked and no node answered.

        """
        if is_key_signature(mandate.payer, mandate.digest, signature):
            return signature
        source = self.chain(network)
        return wallet_consent(source.rpc, mandate, signature) if isinstance(source, EvmChainSource) else None

    def accept_permit(self, mandate: Mandate, network: Network, signature: bytes) -> bool:
        """Say whether the mandate's permit would be taken with this signature.

        Raises:
            RpcUnavailable: no node answered.

        """
        source = self.chain(network)
        if mandate.permit is None or not isinstance(source, EvmChainSource):
            return False
        return takes_permit(source.rpc, mandate, attrs.evolve(mandate.permit, signature=signature))

    def charge_state(
        self, mandate: Mandate, charge: Charge, network: Network, *, operator: str | None = None
    ) -> ChargeState | None:
        """Ask the chain what stands in the way of a charge; None when no node answered."""
        try:
            source = self.chain(network)
            if isinstance(source, EvmChainSource):
                return ask_charge_state(source.rpc, mandate, charge, operator)
            return source.charge_state(mandate, charge, operator) if isinstance(source, ChargeSource) else None
        except (ProviderError, ConfigurationError):
            return None
