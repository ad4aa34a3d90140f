"""Mandates: asked for, given by the payer's signature, listed, and put out of use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.decisions import Decision, RecordAudit, StoreMandate, StoreSubscription
from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.journal import Journal
from evmbilling.domain.mandates.mandates import (
    OPEN_MANDATES,
    Approvals,
    Mandate,
    MandateStatus,
    accept,
    at,
)
from evmbilling.domain.mandates.offers import (
    CancelledMandate,
    PreparedMandate,
    end_mandates,
    mandate_facts,
    same_offer,
)
from evmbilling.domain.messages.events import AuditEntry, EventType
from evmbilling.domain.people.customers import Customer
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.mandates.kept import is_kept
from evmbilling.engine.mandates.requests import ask, parse_request, pulling
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.requests import check_text, is_ledger_id
from evmbilling.errors import ChallengeRefused, Conflict, InputError, NotFound
from evmbilling.ports.mandates import MandateProvider
from evmbilling.ports.storage import Unit

MOST_SIGNATURE = 16 * 1024
"""Bytes; signatures of contract wallets vary."""


class Mandates:
    """The mandates of users. What asks the chain does so outside every transaction."""

    def __init__(self, ports: Ports, runner: Runner) -> None:
        self._ports = ports
        self._runner = runner

    def prepare(
        self,
        user_id: str,
        subscription: str,
        wallet: str,
        *,
        via: str = "allowance",
        network: str | None = None,
        asset: str | None = None,
        charge_cap: int | None = None,
        cap: int | None = None,
        allowance: int | None = None,
        expires_at: datetime | None = None,
        operator: str | None = None,
    ) -> PreparedMandate:
        """Say what a wallet has to sign and allow so that a subscription's charges can be pulled from it.

        The same request answers with the same mandate until it is given; another one takes its place.

        Args:
            user_id: the host's opaque id. subscription: its id.
            wallet: confirmed as the user's, or one that has paid an order of the subscription.
            via: ``allowance`` of the token itself, or ``permit2``.
            network, asset: names; those of the newest order when left out.
            charge_cap: base units that one charge may take; the price of a period when left out.
            cap: base units for each shortest period, added up; ``charge_cap`` when left out.
            allowance: base units that the payer allows in all; twelve charges when left out.
            expires_at: three years from now when left out.
            operator: the address that alone may charge; any operator of the contract when left out.

        Raises:
            InputError: a parameter cannot be used, or nothing can be pulled there; names the field.
            ChallengeRefused: the wallet is not known as the user's.
            NotFound: the user has no such subscription.
            Conflict: the subscription is over.

        """
        request = parse_request(
            user_id=user_id,
            subscription=subscription,
            wallet=wallet,
            via=via,
            network=network,
            asset=asset,
            charge_cap=charge_cap,
            cap=cap,
            allowance=allowance,
            expires_at=expires_at,
            operator=operator,
        )
        asked = self._runner.read(lambda unit: ask(self._ports, unit, request))
        approvals = asked.provider.mandate_approvals(asked.draft, asked.network, asked.wanted)
        fresh = attrs.evolve(asked.draft, permit=approvals.permit)
        kept = self._runner.write(lambda unit: self._keep(unit, fresh, renewed=request.expires_at is None))
        return _answer(asked.provider, kept, approvals)

    def give(
        self, user_id: str, mandate_id: str, *, signature: bytes, permit_signature: bytes | None = None
    ) -> Mandate:
        """Take a prepared mandate that its payer has signed; the one before it for the subscription is put out of use.

        Any signer counts that the contract will take: a key (also behind EIP-7702), or a deployed contract wallet
        (ERC-1271). Giving it again changes nothing.

        Args:
            user_id: the host's opaque id.
            mandate_id: of the answer of ``prepare``.
            signature: of its typed data. permit_signature: of its ``permit_typed_data``, when that was signed.

        Raises:
            ChallengeRefused: a signature would not be taken; names the field.
            NotFound: the user has no such mandate.
            Conflict: it is over.
            RpcUnavailable: a contract had to be asked and no node answered.

        """
        user, name = parse_opaque(user_id, field="user_id"), parse_opaque(mandate_id, field="mandate_id")
        proof = _parse_signature(signature, field="signature")
        permit_proof = b"" if permit_signature is None else _parse_signature(permit_signature, field="permit_signature")
        mandate, network, provider = self._runner.read(lambda unit: self._of_user(unit, user, name))
        _check_open(at(mandate, self._ports.clock.now()))
        if self._runner.read(lambda unit: is_kept(unit, mandate)):
            raise Conflict("this mandate is given on chain, by a call of its contract", field="mandate_id")
        taken = provider.accept_consent(mandate, network, proof)
        if taken is None:
            raise ChallengeRefused("the contract would not take this signature of the payer", field="signature")
        if permit_proof and (mandate.permit is None or not provider.accept_permit(mandate, network, permit_proof)):
            raise ChallengeRefused("Permit2 would not take this signature of the payer", field="permit_signature")
        return self._runner.write(lambda unit: self._accept(unit, user, mandate, taken, permit_proof))

    def list(self, user_id: str, *, subscription: str | None = None) -> Sequence[Mandate]:
        """Return a user's mandates as they stand now, oldest first; of one subscription when it is named.

        Raises:
            InputError: the user id cannot be used.

        """
        user, only = parse_opaque(user_id, field="user_id"), check_text(subscription, field="subscription")
        now = self._ports.clock.now()
        found = self._runner.read(lambda unit: unit.mandates_of_user(user))
        return [at(m, now) for m in found if only in (None, m.subscription_id)]

    def cancel(self, user_id: str, mandate_id: str) -> CancelledMandate:
        """Put a mandate out of use: nothing is charged under it any more. Cancelling it again changes nothing.

        The answer holds the payer's transaction that ends it on chain too; nobody has to send it. How a mandate ends
        that another contract keeps, that contract says.

        Raises:
            NotFound: the user has no such mandate.

        """
        user, name = parse_opaque(user_id, field="user_id"), parse_opaque(mandate_id, field="mandate_id")

        def work(unit: Unit) -> CancelledMandate:
            customer = unit.lock_customers([user]).get(user)
            mandate, _, provider = self._of_user(unit, user, name)
            now = self._ports.clock.now()
            journal = self._journal(customer, mandate, now)
            ended = end_mandates([mandate], "by_user", journal, now)
            if ended:
                unit.apply([*ended, *journal.decisions(), self._audit(user, mandate, "cancel", now)])
                mandate = unit.mandate(name) or mandate
            is_over = mandate.revocation is not None or is_kept(unit, mandate)
            revoke = None if is_over else provider.revoke_payload(mandate)
            return CancelledMandate(mandate=at(mandate, now), revoke=revoke)

        return self._runner.write(work)

    def _keep(self, unit: Unit, fresh: Mandate, *, renewed: bool) -> Mandate:
        """Store a prepared mandate, or return the one that asks the same; others that nobody signed give way."""
        unit.lock_customer(Customer(user_id=fresh.user_id, created_at=self._ports.clock.now()))
        now = self._ports.clock.now()
        waiting = [m for m in unit.mandates_of_subscriptions([fresh.subscription_id]) if _is_waiting(m, now)]
        same = [m for m in waiting if same_offer(m, fresh) and (renewed or m.expires_at == fresh.expires_at)]
        kept = same[-1] if same else fresh
        if same and kept.permit != fresh.permit:
            kept = attrs.evolve(kept, permit=fresh.permit, version=kept.version + 1)
        decisions: list[Decision] = []
        for other in waiting:
            if other.mandate_id != kept.mandate_id:
                decisions += end_mandates([other], "replaced", self._journal(None, other, now), now)
        if kept not in waiting:
            decisions.append(StoreMandate(kept))
        if decisions:
            unit.apply([*decisions, self._audit(fresh.user_id, kept, "prepare", now)])
        return kept

    def _accept(self, unit: Unit, user: str, asked: Mandate, signature: bytes, permit_signature: bytes) -> Mandate:
        customer = unit.lock_customers([user]).get(user)
        now = self._ports.clock.now()
        before, _, _ = self._of_user(unit, user, asked.mandate_id)
        _check_open(at(before, now))
        if before.given_at is not None:
            return before
        if before.permit != asked.permit:
            raise Conflict("this mandate was prepared anew meanwhile; sign what it asks for now", field="mandate_id")
        journal = self._journal(customer, before, now)
        given = accept(before, signature, permit_signature, now)
        others = [
            m for m in unit.mandates_of_subscriptions([given.subscription_id]) if m.mandate_id != given.mandate_id
        ]
        decisions = [StoreMandate(given), *end_mandates(others, "replaced", journal, now), *_look_now(unit, given, now)]
        if before.status is MandateStatus.PREPARED:
            journal.publish(EventType.MANDATE_GIVEN, mandate_facts(given))
        unit.apply([*decisions, *journal.decisions(), self._audit(user, given, "give", now)])
        return given

    def _of_user(self, unit: Unit, user: str, mandate_id: str) -> tuple[Mandate, Network, MandateProvider]:
        mandate = unit.mandate(mandate_id) if is_ledger_id(mandate_id) else None
        if mandate is None or mandate.user_id != user:
            raise NotFound("there is no such mandate", field="mandate_id")
        network, provider = network_and_provider(self._ports, unit, mandate.network)
        return mandate, network, pulling(provider)

    def _journal(self, customer: Customer | None, mandate: Mandate, now: datetime) -> Journal:
        holder = customer or Customer(user_id=mandate.user_id, created_at=now)
        return Journal(holder, now, self._ports.ids.new_id)

    def _audit(self, actor: str, mandate: Mandate, verb: str, now: datetime) -> RecordAudit:
        changes = mandate_facts(mandate) | {"digest": "0x" + mandate.digest.hex(), "treasury": mandate.treasury}
        return RecordAudit(
            AuditEntry(
                audit_id=self._ports.ids.new_id(),
                actor=actor,
                action=f"mandate.{verb}",
                object=f"mandate:{mandate.mandate_id}",
                changes=changes,
                recorded_at=now,
            )
        )


def _answer(provider: MandateProvider, mandate: Mandate, approvals: Approvals) -> PreparedMandate:
    return PreparedMandate(
        mandate=mandate,
        typed_data=provider.mandate_typed_data(mandate),
        approvals=approvals.transactions,
        permit_typed_data=provider.permit_typed_data(mandate),
        instead_of_permit=approvals.instead_of_permit,
        instead_of_signature=provider.give_payload(mandate),
        problems=approvals.problems,
    )


def _look_now(unit: Unit, given: Mandate, now: datetime) -> list[Decision]:
    """Have the biller look at the subscription: what is owed can be charged now."""
    held = unit.subscriptions([given.subscription_id]).get(given.subscription_id)
    if held is None or not held.debt or held.look_at is None or held.look_at <= now:
        return []
    return [StoreSubscription(attrs.evolve(held, look_at=now, version=held.version + 1))]


def _is_waiting(mandate: Mandate, now: datetime) -> bool:
    return at(mandate, now).status is MandateStatus.PREPARED


def _check_open(mandate: Mandate) -> None:
    if mandate.status not in OPEN_MANDATES:
        raise Conflict(f"this mandate is over: it is {mandate.status}", field="mandate_id", status=str(mandate.status))


def _parse_signature(value: object, *, field: str) -> bytes:
    if not isinstance(value, bytes):
        raise InputError("a signature is bytes", field=field)
    if not 0 < len(value) <= MOST_SIGNATURE:
        raise ChallengeRefused(f"a signature is 1 to {MOST_SIGNATURE} bytes", field=field)
    return value
