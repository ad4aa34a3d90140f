"""Everything stored that some customers' money touches, read in one go after the customers were locked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from evmbilling.domain.customers import Customer
from evmbilling.domain.finance import receipt_subject
from evmbilling.domain.ledger import order_owner
from evmbilling.domain.misfits import MisfitPolicy
from evmbilling.domain.orders import Order
from evmbilling.domain.payment_draft import CustomerFacts
from evmbilling.domain.receipts import Receipt
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.ports.storage import Unit


class Shelf:
    """What is stored about some orders, their subscriptions and their money.

    Args:
        orders: of customers that the unit has locked.
        receipts: others that are looked at: money of these customers that no order explains.

    """

    def __init__(
        self,
        unit: Unit,
        orders: Sequence[Order],
        *,
        receipts: Collection[Receipt] = (),
        policies: Mapping[str, MisfitPolicy],
    ) -> None:
        self._policies = policies
        fresh = unit.orders_by_reference({o.reference for o in orders}) if orders else {}
        self._orders = {o.ledger_id: o for o in fresh.values()}
        subscription_ids = {o.subscription_id for o in self._orders.values() if o.subscription_id}
        if subscription_ids:
            self._orders |= {o.ledger_id: o for o in unit.orders_of_subscriptions(subscription_ids)}
        self._subscriptions = unit.subscriptions(subscription_ids)
        self._changes = unit.changes(subscription_ids)
        self._receipts = [*unit.receipts_of_orders(self._orders), *(r for r in receipts if r.ledger_id is None)]
        self._entitlements = unit.entitlements({o.user_id for o in self._orders.values()})
        # What an order may give back is what is still deferred of it; the customers are locked.
        booked = [o for o in self._orders.values() if o.status in PAID_ORDERS or o.claim is not None]
        paid = [order_owner(o.ledger_id) for o in booked]
        self._balances = unit.balances(paid) if paid else ()
        self._plans = unit.plan_versions({(o.plan_slug, o.plan_version) for o in self._orders.values()})
        subjects = [receipt_subject(r.receipt_id) for r in self._receipts]
        self._queue = unit.queue_items_of(subjects) if subjects else ()

    def facts(self, customer: Customer) -> CustomerFacts:
        """Return one customer's part."""
        orders = [o for o in self._orders.values() if o.user_id == customer.user_id]
        subscriptions = [s for s in self._subscriptions.values() if s.user_id == customer.user_id]
        own_orders = {o.ledger_id for o in orders}
        own_subscriptions = {s.subscription_id for s in subscriptions}
        unnamed = [r for r in self._receipts if r.ledger_id is None and r.user_id == customer.user_id]
        return CustomerFacts(
            customer=customer,
            orders=orders,
            subscriptions=subscriptions,
            changes=[c for c in self._changes if c.subscription_id in own_subscriptions],
            receipts=[*(r for r in self._receipts if r.ledger_id in own_orders), *unnamed],
            entitlements=[e for e in self._entitlements if e.user_id == customer.user_id],
            plans=self._plans,
            balances=[b for b in self._balances if b.owner.removeprefix(order_owner("")) in own_orders],
            queue=self._queue,
            policies=self._policies,
        )
