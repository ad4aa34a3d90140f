"""The rule of asking for a mandate: request and facts in, terms out; and what is written when one begins or ends."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs
from attrs import field, frozen

from evmbilling.domain.catalogue.catalogue import PaymentContract
from evmbilling.domain.decisions import Decision, StoreMandate
from evmbilling.domain.journal import Journal
from evmbilling.domain.mandates.mandates import (
    LIFETIME,
    LONGEST_LIFETIME,
    MAX_UINT160,
    OPEN_MANDATES,
    START_SLACK,
    EndReason,
    Mandate,
    MandateStatus,
    Via,
    at,
    end,
    shortest_period,
)
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.selling.offering import Offer
from evmbilling.domain.selling.offers import Problem, WalletPayload
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.errors import Conflict, InputError

PULLS_ALLOWED = 12
"""How many charges an allowance is meant for when the caller does not say."""


@frozen(kw_only=True)
class MandateRequest:
    """What is asked of a payer, parsed; None stands for what the caller left to us.

    Attributes:
        subscription_id: what it is for. wallet: whose money.
        network, asset: names; those of the subscription's newest order when left out.
        charge_cap: base units that one charge may take; the price with its lines when left out.
        cap: base units for each shortest period; ``charge_cap`` when left out.
        allowance: base units that the payer allows in all; twelve charges when left out.
        expires_at: three years from now when left out.
        operator: who alone may charge; any operator of the contract when left out.

    """

    user_id: str
    subscription_id: str
    wallet: str
    via: Via = "allowance"
    network: str | None = None
    asset: str | None = None
    charge_cap: int | None = None
    cap: int | None = None
    allowance: int | None = None
    expires_at: datetime | None = None
    operator: str | None = None


@frozen(kw_only=True)
class PreparedMandate:
    """What the payer's wallet has to do: send the approvals, sign, and hand the signatures to ``give``.

    Attributes:
        typed_data: the mandate, for ``eth_signTypedData_v4``.
        approvals: transactions of the payer, to be sent in this order; empty when enough is allowed.
        permit_typed_data: to be signed too; None when nothing of that kind is needed.
        instead_of_permit: the payer's transaction in place of signing that.
        instead_of_signature: the payer's transaction in place of signing the mandate, for a wallet that cannot.
        problems: what stands in the way; a dead node gives ``rpc_unknown``, and approvals that may not be needed.

    """

    mandate: Mandate
    typed_data: dict[str, Any] = field(repr=False)
    approvals: tuple[WalletPayload, ...] = ()
    permit_typed_data: dict[str, Any] | None = field(default=None, repr=False)
    instead_of_permit: WalletPayload | None = None
    instead_of_signature: WalletPayload
    problems: tuple[Problem, ...] = ()


@frozen(kw_only=True)
class CancelledMandate:
    """A mandate that we do not use any more.

    Attributes:
        revoke: the payer's transaction that ends it on chain too, for whoever wants that; None when it was revoked.

    """

    mandate: Mandate
    revoke: WalletPayload | None


def draft_mandate(
    request: MandateRequest,
    subscription: Subscription,
    offer: Offer,
    contract: PaymentContract,
    *,
    amount: int,
    mandate_id: str,
    now: datetime,
) -> Mandate:
    """Return the terms that the payer is asked to sign; the digest is not computed yet.

    Args:
        offer: where the subscription's plan is sold; ``amount``: what one period costs there.
        contract: the bound Mandates contract.

    Raises:
        Conflict: the subscription is over.
        InputError: what is sold once or paid in the native coin, caps below the price, an end that is no use.

    """
    if subscription.status not in LIVE_SUBSCRIPTIONS:
        raise Conflict("the subscription is over", field="subscription")
    if offer.price.asset.is_native:
        raise InputError("the native coin cannot be pulled; choose a token", field="asset")
    charge_cap = amount if request.charge_cap is None else request.charge_cap
    cap = max(charge_cap, amount) if request.cap is None else request.cap
    for name, value in (("charge_cap", charge_cap), ("cap", cap)):
        if not max(amount, 1) <= value <= MAX_UINT160:
            raise InputError(f"a cap is 2**160 - 1 at most and covers a period, which costs {amount}", field=name)
    whole = now.replace(microsecond=0)
    ends = whole + LIFETIME if request.expires_at is None else request.expires_at.replace(microsecond=0)
    if not whole < ends <= whole + LONGEST_LIFETIME:
        raise InputError(f"a mandate ends in the future, at most {LONGEST_LIFETIME.days} days away", field="expires_at")
    return Mandate(
        mandate_id=mandate_id,
        digest=bytes(32),
        user_id=request.user_id,
        subscription_id=subscription.subscription_id,
        plan_slug=offer.plan.slug,
        plan_version=offer.plan.version,
        network=offer.network.name,
        asset=offer.price.asset,
        contract=contract.address,
        payer=request.wallet,
        treasury=offer.treasury,
        operator=request.operator or "",
        via=request.via,
        charge_cap=charge_cap,
        cap=cap,
        spacing=shortest_period(subscription.interval),
        start=whole - START_SLACK,
        expires_at=ends,
        salt=UUID(mandate_id).int,
        created_at=now,
    )


def wanted_allowance(request: MandateRequest, mandate: Mandate) -> int:
    """Return how many base units the payer is asked to allow."""
    wanted = PULLS_ALLOWED * mandate.charge_cap if request.allowance is None else request.allowance
    return min(wanted, MAX_UINT160)


def same_offer(one: Mandate, other: Mandate) -> bool:
    """Whether two mandates ask the same of the same payer, whenever they were made."""
    own = ("mandate_id", "digest", "start", "salt", "created_at", "permit", "status", "version")
    fields = [a.name for a in attrs.fields(Mandate) if a.name not in (*own, "expires_at")]
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def end_mandates(
    mandates: Iterable[Mandate], reason: EndReason, journal: Journal, now: datetime
) -> tuple[Decision, ...]:
    """Return the decisions that put open mandates out of use; what was never given goes without a word."""
    decisions: list[Decision] = []
    for mandate in mandates:
        if at(mandate, now).status not in OPEN_MANDATES:
            continue
        ended = end(mandate, reason, now)
        decisions.append(StoreMandate(ended))
        if mandate.status is not MandateStatus.PREPARED:
            journal.publish(EventType.MANDATE_CANCELLED, mandate_facts(ended))
    return tuple(decisions)


def mandate_facts(mandate: Mandate) -> dict[str, Any]:
    """Return what events and audit entries say about a mandate."""
    return {
        "mandate_id": mandate.mandate_id,
        "status": str(mandate.status),
        "subscription_id": mandate.subscription_id,
        "plan": mandate.plan_slug,
        "network": mandate.network,
        "token": mandate.asset.token,
        "symbol": mandate.asset.symbol,
        "decimals": mandate.asset.decimals,
        "wallet": mandate.payer,
        "via": mandate.via,
        "charge_cap": str(mandate.charge_cap),
        "expires_at": mandate.expires_at.isoformat(),
        "reason": mandate.end_reason,
    }
