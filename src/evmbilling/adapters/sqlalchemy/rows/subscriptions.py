"""Rows of subscriptions, of what was decided about them, of charges by mandate and of pay links."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from evmbilling.adapters.sqlalchemy.values import instant_text
from evmbilling.domain.catalogue.plan_terms import Adoption, PlanTerms, TermsChange
from evmbilling.domain.identity import Product
from evmbilling.domain.mandates.charges import Charge
from evmbilling.domain.selling.pay_links import PayLink
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.domain.subscriptions.periods import Segment
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange

if TYPE_CHECKING:
    from evmbilling.adapters.sqlalchemy.rows.catalogue import Row, Values


def subscription_values(subscription: Subscription) -> Values:
    """Write a subscription: its facts and its projection."""
    return {
        "subscription_id": subscription.subscription_id,
        "user_id": subscription.user_id,
        "product_type": subscription.product.type,
        "product_id": subscription.product.id,
        "zone": subscription.zone,
        "created_at": subscription.created_at,
        "start_at": subscription.start_at,
        "trial_end": subscription.trial_end,
        **subscription_projection(subscription),
    }


def subscription_projection(subscription: Subscription) -> Values:
    """Write what a change of standing changes."""
    return {
        "plan_slug": subscription.plan_slug,
        "plan_version": subscription.plan_version,
        "interval_unit": subscription.interval.unit,
        "interval_count": subscription.interval.count,
        "quantity": subscription.quantity,
        "status": subscription.status,
        "anchor": subscription.anchor,
        "paid_periods": subscription.paid_periods,
        "paid_until": subscription.paid_until,
        "next_charge_at": subscription.next_charge_at,
        "cancel_at_period_end": subscription.cancel_at_period_end,
        "debt": subscription.debt,
        "segments": [segment_values(segment) for segment in subscription.segments],
        "dunning_state": subscription.dunning_state,
        "dunned_at": subscription.dunned_at,
        "chain_id": subscription.chain_id,
        "look_at": subscription.look_at,
        "looked_at": subscription.looked_at,
        "version": subscription.version,
    }


def segment_values(segment: Segment) -> Values:
    """Write a stretch of a subscription's calendar."""
    return {
        "first": segment.first,
        "anchor": instant_text(segment.anchor),
        "unit": segment.interval.unit,
        "count": segment.interval.count,
        "zone": segment.zone,
        "offset": segment.offset,
        "stub": segment.stub,
    }


def read_segment(values: Values) -> Segment:
    """Read a stretch of a subscription's calendar."""
    return Segment(
        first=values["first"],
        anchor=datetime.fromisoformat(values["anchor"]),
        interval=Interval(values["unit"], values["count"]),
        zone=values["zone"],
        offset=values["offset"],
        stub=values["stub"],
    )


def read_subscription(row: Row) -> Subscription:
    """Read a subscription."""
    return Subscription(
        subscription_id=row.subscription_id,
        user_id=row.user_id,
        product=Product(row.product_type, row.product_id),
        plan_slug=row.plan_slug,
        plan_version=row.plan_version,
        interval=Interval(row.interval_unit, row.interval_count),
        quantity=row.quantity,
        zone=row.zone,
        created_at=row.created_at,
        start_at=row.start_at,
        trial_end=row.trial_end,
        status=SubscriptionStatus(row.status),
        anchor=row.anchor,
        paid_periods=row.paid_periods,
        paid_until=row.paid_until,
        next_charge_at=row.next_charge_at,
        cancel_at_period_end=row.cancel_at_period_end,
        debt=row.debt,
        segments=tuple(map(read_segment, row.segments)),
        dunning_state=row.dunning_state,
        dunned_at=row.dunned_at,
        chain_id=row.chain_id,
        look_at=row.look_at,
        looked_at=row.looked_at,
        version=row.version,
    )


def change_values(change: SubscriptionChange) -> Values:
    """Write a decision about a subscription."""
    return {
        "subscription_id": change.subscription_id,
        "seq": change.seq,
        "kind": change.kind,
        "effective_at": change.effective_at,
        "recorded_at": change.recorded_at,
        "decided_by": change.by,
        "period": change.period,
        "paid_to": change.paid_to,
        "zone": change.zone,
        "reason": change.reason,
        "terms": None if change.terms is None else _terms_change_values(change.terms),
        "adoption": None if change.adoption is None else _adoption_values(change.adoption),
    }


def read_change(row: Row) -> SubscriptionChange:
    """Read a decision about a subscription."""
    return SubscriptionChange(
        subscription_id=row.subscription_id,
        seq=row.seq,
        kind=row.kind,
        effective_at=row.effective_at,
        recorded_at=row.recorded_at,
        by=row.decided_by,
        period=row.period,
        paid_to=row.paid_to,
        zone=row.zone,
        reason=row.reason,
        terms=None if row.terms is None else _read_terms_change(row.terms),
        adoption=None if row.adoption is None else _read_adoption(row.adoption),
    )


def _terms_change_values(change: TermsChange) -> Values:
    """Write a change of terms."""
    return {
        "before": _terms_values(change.before),
        "after": _terms_values(change.after),
        "basis": change.basis,
        "ledger_id": change.ledger_id,
        "network": change.network,
        "token": change.token,
        "wallet": change.wallet,
    }


def _read_terms_change(values: Values) -> TermsChange:
    """Read a change of terms."""
    return TermsChange(
        before=_read_terms(values["before"]),
        after=_read_terms(values["after"]),
        basis=values["basis"],
        ledger_id=values["ledger_id"],
        network=values["network"],
        token=values["token"],
        wallet=values["wallet"],
    )


def _terms_values(terms: PlanTerms) -> Values:
    return {
        "plan": terms.plan_slug,
        "version": terms.plan_version,
        "quantity": terms.quantity,
        "unit": terms.interval.unit,
        "count": terms.interval.count,
    }


def _read_terms(values: Values) -> PlanTerms:
    return PlanTerms(
        plan_slug=values["plan"],
        plan_version=values["version"],
        quantity=values["quantity"],
        interval=Interval(values["unit"], values["count"]),
    )


def _adoption_values(adoption: Adoption) -> Values:
    """Write how a subscriber was imported."""
    return {
        "external_id": adoption.external_id,
        "paid_until": instant_text(adoption.paid_until),
        "anchor": instant_text(adoption.anchor),
        "offset": adoption.offset,
        "periods": adoption.periods,
        "network": adoption.network,
        "chain_id": adoption.chain_id,
        "token": adoption.token,
        "wallet": adoption.wallet,
        "beneficiary": adoption.beneficiary,
    }


def _read_adoption(values: Values) -> Adoption:
    """Read how a subscriber was imported."""
    return Adoption(
        external_id=values["external_id"],
        paid_until=datetime.fromisoformat(values["paid_until"]),
        anchor=datetime.fromisoformat(values["anchor"]),
        offset=values["offset"],
        periods=values["periods"],
        network=values["network"],
        chain_id=values["chain_id"],
        token=values["token"],
        wallet=values["wallet"],
        beneficiary=values["beneficiary"],
    )


def charge_values(charge: Charge) -> Values:
    """Write a charge: what was asked for, and what became of it."""
    return {
        "ledger_id": charge.ledger_id,
        "attempt": charge.attempt,
        "user_id": charge.user_id,
        "subscription_id": charge.subscription_id,
        "mandate_id": charge.mandate_id,
        "chain_id": charge.chain_id,
        "state": charge.state,
        "reason": charge.reason,
        "requested_at": charge.requested_at,
        "settled_at": charge.settled_at,
        "version": charge.version,
    }


def read_charge(row: Row) -> Charge:
    """Read a charge."""
    return Charge(
        ledger_id=row.ledger_id,
        attempt=row.attempt,
        user_id=row.user_id,
        subscription_id=row.subscription_id,
        mandate_id=row.mandate_id,
        chain_id=row.chain_id,
        state=row.state,
        reason=row.reason,
        requested_at=row.requested_at,
        settled_at=row.settled_at,
        version=row.version,
    )


def pay_link_values(link: PayLink) -> Values:
    """Write a pay link."""
    return {
        "token_hash": link.token_hash,
        "ledger_id": link.ledger_id,
        "issued_at": link.issued_at,
        "expires_at": link.expires_at,
    }


def read_pay_link(row: Row) -> PayLink:
    """Read a pay link."""
    return PayLink(
        token_hash=row.token_hash, ledger_id=row.ledger_id, issued_at=row.issued_at, expires_at=row.expires_at
    )
