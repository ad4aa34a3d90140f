"""Everything stored about one subscription, as rules get it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.access import Entitlement
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange


@frozen(kw_only=True)
class SubscriptionFacts:
    """Everything stored about a subscription. Its customer is locked.

    Attributes:
        plan: the version that holds.
        plans: by (slug, version): of all terms that may come to hold.
        orders, receipts, changes: all of it.
        entitlement: what it gives; None when it never gave anything.

    """

    subscription: Subscription
    plan: SubscriptionPlan
    orders: Sequence[Order]
    receipts: Sequence[Receipt]
    changes: Sequence[SubscriptionChange]
    entitlement: Entitlement | None = None
    plans: Mapping[tuple[str, int], SubscriptionPlan] = field(factory=dict)
