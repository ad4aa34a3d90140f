"""Everything stored that some subscriptions hang together with, read in one go after their customers were locked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.offering import NOBODY, CheckoutRequest, Offer
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.facts import SubscriptionFacts
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.domain.subscriptions.terms import plan_keys
from evmbilling.engine.selling.availability import find_offer
from evmbilling.errors import BillingError, NotFound
from evmbilling.ports.storage import Unit


class SubscriptionShelf:
    """Subscriptions with all that belongs to each."""

    def __init__(self, unit: Unit, subscription_ids: Collection[str]) -> None:
        self.subscriptions = unit.subscriptions(subscription_ids) if subscription_ids else {}
        found = self.subscriptions.values()
        self._orders: dict[str, list[Order]] = defaultdict(list)
        for order in unit.orders_of_subscriptions(self.subscriptions) if self.subscriptions else ():
            self._orders[order.subscription_id or ""].append(order)
        owner = {o.ledger_id: o.subscription_id or "" for orders in self._orders.values() for o in orders}
        self._receipts: dict[str, list[Receipt]] = defaultdict(list)
        for receipt in unit.receipts_of_orders(owner) if owner else ():
            self._receipts[owner[receipt.ledger_id or ""]].append(receipt)
        self._changes: dict[str, list[SubscriptionChange]] = defaultdict(list)
        for change in unit.changes(self.subscriptions) if self.subscriptions else ():
            self._changes[change.subscription_id].append(change)
        users = {s.user_id for s in found}
        self._entitlements = {e.source_id: e for e in unit.entitlements(users)} if users else {}
        keys = {(s.plan_slug, s.plan_version) for s in found}
        keys |= {key for changes in self._changes.values() for key in plan_keys(changes)}
        self._plans = unit.plan_versions(keys) if users else {}

    def orders(self, subscription_id: str) -> Sequence[Order]:
        """Return the orders of a subscription by ledger id."""
        return self._orders[subscription_id]

    def facts(self, subscription: Subscription) -> SubscriptionFacts:
        """Return everything about one of them."""
        name = subscription.subscription_id
        return SubscriptionFacts(
            subscription=subscription,
            plan=self._plans[(subscription.plan_slug, subscription.plan_version)],
            orders=self._orders[name],
            receipts=self._receipts[name],
            changes=self._changes[name],
            entitlement=self._entitlements.get(name),
            plans=self._plans,
        )


class Offers:
    """Where plans are sold, looked up once for equal terms within a unit."""

    def __init__(self, unit: Unit, now: datetime) -> None:
        self._unit, self._now = unit, now
        self._known: dict[tuple[object, ...], tuple[Offer | None, str | None]] = {}

    def like(self, request: CheckoutRequest, plan: SubscriptionPlan) -> tuple[Offer | None, str | None]:
        """Return where a plan is sold for a request, or a stable code of why it is not."""
        key = (plan.slug, plan.version, request.network, request.asset, request.wallet == NOBODY)
        if key not in self._known:
            try:
                self._known[key] = find_offer(self._unit, plan, request, now=self._now), None
            except BillingError as error:
                self._known[key] = None, error.code
        return self._known[key]


def locked_facts(unit: Unit, subscription_id: str, user_id: str | None) -> tuple[Customer, SubscriptionFacts]:
    """Lock a subscription's customer and return everything about it.

    Raises:
        NotFound: there is no such subscription, or it is another user's.

    """
    owner = _owned(unit.subscriptions([subscription_id]).get(subscription_id), user_id).user_id
    return unit.lock_customers([owner])[owner], facts_of(unit, subscription_id, user_id)


def facts_of(unit: Unit, subscription_id: str, user_id: str | None) -> SubscriptionFacts:
    """Return everything about a subscription.

    Raises:
        NotFound: there is no such subscription, or it is another user's.

    """
    shelf = SubscriptionShelf(unit, [subscription_id])
    return shelf.facts(_owned(shelf.subscriptions.get(subscription_id), user_id))


def _owned(found: Subscription | None, user_id: str | None) -> Subscription:
    if found is None or user_id not in (None, found.user_id):
        raise NotFound("there is no such subscription", field="subscription_id")
    return found
