"""Mandates: what a provider must be able to do to pull money, and what storage answers about them.

Clauses of the provider's contract; ``evmbilling.testing.conformance.MandateConformance`` holds a provider that pulls to
each of them (what storage answers is part of the storage's contract):

1. ``mandate_digest`` is the EIP-712 hash of ``mandate_typed_data``; whatever part of a mandate is another (chain,
   contract, payer, token, treasury, operator, subscription, plan, limits, times, way, salt), the digest is another.
2. What is pure is the same bytes every time and asks nobody.
3. ``charge_payload`` takes exactly the charge's amount from the payer to the treasury: once for its reference, not
   after its deadline, on the payer's signature, and for the operator alone.
4. ``give_payload``, sent by the payer, is as good as the signature; ``revoke_payload`` ends this mandate and no other.
5. ``accept_consent`` takes the payer's own signature of this mandate, a contract wallet's by its contract, no other.
6. ``mandate_approvals`` are what is missing and no more; once they are sent, so much can be pulled. Where no node
   answers they are all of them, with the problem ``rpc_unknown``.
7. ``charge_state`` says everything that stands in the way of a charge, as the chain is now and by the chain's time;
   where no node answers it is None, never a state.
8. With ``permit2``: ``permit_typed_data`` is the allowance that comes with the first charge in place of a transaction,
   and ``accept_permit`` takes the payer's signature of exactly that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.mandates.mandate_charges import Charge, ChargeState
from evmbilling.domain.mandates.mandates import Approvals, Mandate
from evmbilling.domain.selling.offers import WalletPayload


@runtime_checkable
class MandateProvider(Protocol):
    """A provider that can pull, beside what every provider does.

    Only :meth:`mandate_approvals`, :meth:`accept_consent` and :meth:`charge_state` touch the network.
    """

    def mandate_digest(self, mandate: Mandate) -> bytes:
        """Return the 32 bytes that the payer signs. Pure."""
        ...

    def mandate_typed_data(self, mandate: Mandate) -> dict[str, Any]:
        """Return the mandate as EIP-712 typed data. Pure."""
        ...

    def permit_typed_data(self, mandate: Mandate) -> dict[str, Any] | None:
        """Return the allowance that the payer signs beside it, as typed data; None when there is none to sign. Pure."""
        ...

    def charge_payload(self, mandate: Mandate, charge: Charge) -> WalletPayload:
        """Return the operator's transaction that pulls the money. Pure."""
        ...

    def give_payload(self, mandate: Mandate) -> WalletPayload:
        """Return the transaction by which the payer gives the mandate on chain in place of signing it. Pure."""
        ...

    def revoke_payload(self, mandate: Mandate) -> WalletPayload:
        """Return the transaction by which the payer ends the mandate on chain. Pure."""
        ...

    def mandate_approvals(self, mandate: Mandate, network: Network, wanted: int) -> Approvals:
        """Say what the payer has to allow so that ``wanted`` base units can be pulled. A dead node is a problem."""
        ...

    def accept_consent(self, mandate: Mandate, network: Network, signature: bytes) -> bytes | None:
        """Return the payer's signature as the contract takes it; None when the contract would refuse it.

        Raises:
            RpcUnavailable: the chain had to be asked and no node answered.

        """
        ...

    def accept_permit(self, mandate: Mandate, network: Network, signature: bytes) -> bool:
        """Say whether the mandate's permit would be taken with this signature.

        Raises:
            RpcUnavailable: no node answered.

        """
        ...

    def charge_state(
        self, mandate: Mandate, charge: Charge, network: Network, *, operator: str | None = None
    ) -> ChargeState | None:
        """Ask the chain what stands in the way of a charge; None when no node answered.

        Args:
            operator: who would send it; without one nothing is tried.

        """
        ...


@runtime_checkable
class ChargeSource(Protocol):
    """A chain source that answers about charges by itself, as a simulated chain does."""

    def charge_state(self, mandate: Mandate, charge: Charge, operator: str | None) -> ChargeState:
        """Return what the chain says.

        Raises:
            ProviderError: it does not answer.

        """
        ...


class MandateReads(Protocol):
    """The mandates of customers."""

    def mandate(self, mandate_id: str) -> Mandate | None:
        """Return a mandate."""
        ...

    def mandates_of_user(self, user_id: str) -> Sequence[Mandate]:
        """Return a user's mandates by id."""
        ...

    def mandates_of_subscriptions(self, subscription_ids: Collection[str]) -> Sequence[Mandate]:
        """Return the mandates of these subscriptions by id."""
        ...

    def mandates_by_digest(self, digests: Collection[bytes]) -> Mapping[bytes, Mandate]:
        """Return the mandates that these ids on chain name."""
        ...

    def mandates_seen_in(self, identities: Collection[CreditIdentity]) -> Sequence[Mandate]:
        """Return the mandates whose giving or revocation on chain is one of these logs, by id."""
        ...
