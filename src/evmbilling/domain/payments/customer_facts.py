"""What is stored of one customer that money touches, read under the customer's lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from evmbilling.domain.books.ledger import Balance
from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.access import Entitlement
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange


@frozen(kw_only=True)
class CustomerFacts:
    """Everything stored that the customer's payments touch. The customer is locked.

    Attributes:
        balances: those of orders that are paid: what is still deferred of them.
        queue: items of the finance queue about these receipts, and about orders that were marked as paid.
        policies: of gateways, by slug.

    """

    customer: Customer
    orders: Sequence[Order]
    subscriptions: Sequence[Subscription]
    changes: Sequence[SubscriptionChange]
    receipts: Sequence[Receipt]
    entitlements: Sequence[Entitlement]
    plans: Mapping[tuple[str, int], SubscriptionPlan]
    balances: Sequence[Balance] = ()
    queue: Sequence[QueueItem] = ()
    policies: Mapping[str, MisfitPolicy] = field(factory=dict)
