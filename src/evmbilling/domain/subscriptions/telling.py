"""What others are told when a subscription moves, whoever moved it: a payment, the biller, a person."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from evmbilling.domain.catalogue.plan_terms import PlanTerms
from evmbilling.domain.journal import Journal, asset_facts, order_facts
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import (
    OVER_SUBSCRIPTIONS,
    OWING_SUBSCRIPTIONS,
    PAID_ORDERS,
    OrderStatus,
    SubscriptionStatus,
)
from evmbilling.domain.subscriptions.calendar import wall_days
from evmbilling.domain.subscriptions.dunning import DunningPolicy
from evmbilling.domain.subscriptions.subscriptions import Debt, Subscription


def subscription_facts(subscription: Subscription) -> dict[str, Any]:
    """Return what events say about a subscription."""
    return {
        "subscription_id": subscription.subscription_id,
        "product": str(subscription.product),
        "plan": subscription.plan_slug,
        "paid_until": subscription.paid_until.isoformat() if subscription.paid_until else None,
    }


def debt_facts(debts: Sequence[Debt]) -> dict[str, Any]:
    """Return what events say about debts: how much is owed in the asset of the oldest, since when, for how long."""
    oldest = debts[0]
    return asset_facts(oldest.asset) | {
        "amount": str(sum(debt.amount for debt in debts if debt.asset == oldest.asset)),
        "periods": len(debts),
        "ledger_id": oldest.ledger_id,
        "due_at": oldest.due_at.isoformat(),
    }


def tell_move(
    journal: Journal,
    before: Subscription,
    after: Subscription,
    debts: Sequence[Debt],
    policy: DunningPolicy,
    *,
    occurred_at: datetime,
    reason: str | None = None,
    again: bool = False,
) -> None:
    """Publish a change of status, that something is owed or suspended, and an end.

    Args:
        journal: of the customer.
        before, after: the subscription.
        debts: what is owed afterwards.
        policy: of its plan.
        occurred_at: when it happened.
        reason: why it ended.
        again: a state of dunning is told once more.

    """
    moved = before.status != after.status
    if moved:
        told = {"before": str(before.status), "after": str(after.status)}
        journal.publish(EventType.SUBSCRIPTION_MOVED, subscription_facts(after) | told, occurred_at=occurred_at)
    state = after.dunning_state
    worse = policy.rank(state) < policy.rank(before.dunning_state)
    notices = policy.has(state, "notify") and (worse or again)
    owes = after.status in OWING_SUBSCRIPTIONS and bool(debts)
    if owes and (
        notices or before.status not in OWING_SUBSCRIPTIONS or (moved and after.status is SubscriptionStatus.SUSPENDED)
    ):
        suspended = moved and after.status is SubscriptionStatus.SUSPENDED
        kind = EventType.SUBSCRIPTION_SUSPENDED if suspended else EventType.SUBSCRIPTION_PAST_DUE
        facts = subscription_facts(after) | debt_facts(debts) | {"state": state}
        journal.publish(kind, facts, occurred_at=occurred_at)
    if after.status in OVER_SUBSCRIPTIONS and before.status not in OVER_SUBSCRIPTIONS:
        facts = subscription_facts(after) | {"reason": reason}
        journal.publish(EventType.SUBSCRIPTION_ENDED, facts, occurred_at=occurred_at)


def tell_terms(journal: Journal, before: Subscription, after: Subscription, *, occurred_at: datetime) -> None:
    """Publish that other terms hold, if they do."""
    if before.terms != after.terms:
        facts = subscription_facts(after) | terms_facts(before.terms, "old_") | terms_facts(after.terms, "new_")
        journal.publish(EventType.SUBSCRIPTION_CHANGED, facts, occurred_at=occurred_at)


def terms_facts(terms: PlanTerms, prefix: str = "") -> dict[str, Any]:
    """Return what events say about terms."""
    return {
        f"{prefix}plan": terms.plan_slug,
        f"{prefix}version": terms.plan_version,
        f"{prefix}quantity": terms.quantity,
        f"{prefix}interval": str(terms.interval),
    }


def tell_order(journal: Journal, before: Order, after: Order, *, occurred_at: datetime) -> None:
    """Publish that an order is paid, for good, or not any more."""
    told = {
        OrderStatus.CONFIRMED: EventType.PAYMENT_CONFIRMED,
        OrderStatus.FINAL: EventType.PAYMENT_FINAL,
        OrderStatus.REVERSED: EventType.PAYMENT_REVERSED,
    }
    if after.status is OrderStatus.FINAL and before.status not in PAID_ORDERS:
        journal.publish(EventType.PAYMENT_CONFIRMED, order_facts(after), occurred_at=occurred_at)
    if after.status != before.status and after.status in told:
        journal.publish(told[after.status], order_facts(after), occurred_at=occurred_at)


def received_facts(receipt: Receipt, order: Order | None) -> dict[str, Any]:
    """Return what events say about money that came in; ``order`` is the one that it names."""
    return (order_facts(order) if order else asset_facts(receipt.asset)) | {
        "receipt_id": receipt.receipt_id,
        "tx_hash": "0x" + receipt.identity.tx_hash.hex(),
        "received": str(receipt.amount),
    }


def tell_unmatched(journal: Journal, receipt: Receipt, order: Order | None) -> None:
    """Publish that money counts for no order."""
    facts = received_facts(receipt, order) | {"allocation": receipt.allocation, "reason": receipt.reason}
    journal.publish(EventType.PAYMENT_UNMATCHED, facts, occurred_at=receipt.evidence.block_time)


def tell_due(journal: Journal, order: Order, zone: str, *, now: datetime) -> None:
    """Publish a reminder of an order: it will be due, or has been for some days."""
    due_at = order.due_at or order.created_at
    facts = order_facts(order) | due_facts(order) | {"days": wall_days(due_at, now, zone)}
    journal.publish(EventType.PAYMENT_DUE, facts)


def due_facts(order: Order) -> dict[str, Any]:
    """Return what events say about when an order is due."""
    return {
        "period": order.period,
        "due_at": (order.due_at or order.created_at).isoformat(),
        "deadline": order.deadline.isoformat(),
        "attempts": order.attempts,
        "reason": order.failure_reason,
    }
