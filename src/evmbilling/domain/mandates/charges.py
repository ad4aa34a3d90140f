"""Charges: taking what is due by a mandate of the payer, and the decision between that and asking."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from attrs import frozen

from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import OPEN_ORDERS

ChargeState = Literal["requested", "submitted", "unknown", "failed"]
AskReason = Literal["no_mandate", "other_terms", "mandate_over", "not_payable", "failed"]
REASK: Final = frozenset({"not_given", "cancelled", "revoked", "expired", "terms_changed", "bad_signature"})
"""Reasons of failed charges that no waiting mends: the payer has to be asked, whatever a plan's schedule says."""


@frozen(kw_only=True)
class Cover:
    """What a mandate allows, as far as the decision needs it; the chain is asked about it before each charge.

    Attributes:
        mandate_id: names the mandate for whoever carries out the charge.
        chain_id, token: the asset that it allows to take.
        payer: whose money; it may be another wallet than the one that paid before.
        amount: base units that one charge may take at most.
        until: when it ends; None for no end.
        since: when it was given; what failed before is tried under it. None when that is not known.
        plan: slug and version of what the payer agreed to pay for; None for any.
        treasury: where the money may go; None for anywhere.

    """

    mandate_id: str
    chain_id: int
    token: str
    payer: str
    amount: int
    until: datetime | None = None
    since: datetime | None = None
    plan: tuple[str, int] | None = None
    treasury: str | None = None


@frozen(kw_only=True)
class Charge:
    """One attempt to take what an order asks for; unique by (order, attempt).

    It is handed over by being stored in the transaction of its decision. Whoever carries it out sends nothing before
    that is committed, and says afterwards what became of it. That it succeeded is said by the chain alone.

    Attributes:
        attempt: counts from 1 for each order.
        reason: a stable code of why it failed.
        requested_at: when it was decided. settled_at: when its outcome was known.

    """

    ledger_id: str
    attempt: int
    user_id: str
    subscription_id: str
    mandate_id: str
    chain_id: int
    state: ChargeState = "requested"
    reason: str | None = None
    requested_at: datetime
    settled_at: datetime | None = None
    version: int = 1


@frozen
class StoreCharge:
    """Decision: insert version 1 ((order, attempt) taken is AlreadyExists), or replace as StoreOrder does."""

    charge: Charge


@frozen
class Ask:
    """The payer is asked: by a link, with reminders."""

    reason: AskReason


@frozen
class Pull:
    """The mandate covers the order: it is charged."""

    mandate_id: str


def charge_plan(order: Order, mandate: Cover | None, now: datetime) -> Ask | Pull:
    """Decide how a period that is due is paid.

    Args:
        order: what is asked for.
        mandate: of its subscription, when there is one.
        now: as far as payments are known.

    """
    if mandate is None:
        return Ask("no_mandate")
    if not _fits(mandate, order):
        return Ask("other_terms")
    if mandate.until is not None and mandate.until <= now:
        return Ask("mandate_over")
    if order.status not in OPEN_ORDERS or order.closed_as is not None or now > order.deadline:
        return Ask("not_payable")
    if order.attempts and order.retry_at is None and not is_fresh(mandate, order):
        return Ask("failed")
    return Pull(mandate.mandate_id)


def is_fresh(mandate: Cover | None, order: Order) -> bool:
    """Whether a mandate was given after the last charge of an order: what that one failed for says nothing of it."""
    since = mandate.since if mandate is not None else None
    return since is not None and order.attempted_at is not None and order.attempted_at < since


def _fits(mandate: Cover, order: Order) -> bool:
    """Whether an order asks for what was agreed, and no more in one charge."""
    return (
        (mandate.chain_id, mandate.token) == (order.chain_id, order.asset.token)
        and mandate.plan in {None, (order.plan_slug, order.plan_version)}
        and mandate.treasury in {None, order.treasury}
        and order.amount <= mandate.amount
    )
