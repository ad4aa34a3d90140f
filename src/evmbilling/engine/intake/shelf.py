"""Everything stored that some customers' money touches, read in one go after the customers were locked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from evmbilling.domain.books.ledger import order_owner
from evmbilling.domain.payments.customer_facts import CustomerFacts
from evmbilling.domain.payments.finance import order_subject, receipt_subject
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.domain.subscriptions.terms import plan_keys
from evmbilling.ports.storage import Unit

_Row = TypeVar("_Row")


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
        # Read again, now that the customers are locked; which subscription an order is of never changes.
        alone = {o.ledger_id for o in orders if o.subscription_id is None}
        subscription_ids = {o.subscription_id for o in orders if o.subscription_id is not None}
        found = [*unit.orders(alone).values()] if alone else []
        found += unit.orders_of_subscriptions(subscription_ids) if subscription_ids else ()
        owners = {o.ledger_id: o.user_id for o in found}
        self._orders = _by_user(found, lambda o: o.user_id)
        self._subscriptions = _by_user(unit.subscriptions(subscription_ids).values(), lambda s: s.user_id)
        users = {s.subscription_id: s.user_id for group in self._subscriptions.values() for s in group}
        changes = unit.changes(subscription_ids)
        self._changes = _by_user(changes, lambda c: users.get(c.subscription_id))
        known = [*unit.receipts_of_orders(owners), *(r for r in receipts if r.ledger_id is None)]
        self._receipts = _by_user(known, lambda r: owners.get(r.ledger_id or "", r.user_id))
        self._entitlements = _by_user(unit.entitlements(self._orders), lambda e: e.user_id)
        # What an order may give back is what is still deferred of it; the customers are locked.
        paid = {order_owner(o.ledger_id): o.user_id for o in found if o.status in PAID_ORDERS or o.claim is not None}
        self._balances = _by_user(unit.balances(paid) if paid else (), lambda b: paid[b.owner])
        held = {s.terms.key for group in self._subscriptions.values() for s in group}
        asked = {(o.plan_slug, o.plan_version) for o in found}
        self._plans = unit.plan_versions(held | asked | plan_keys(changes))
        subjects = {receipt_subject(r.receipt_id): owners.get(r.ledger_id or "", r.user_id) for r in known}
        subjects |= {order_subject(o.ledger_id): o.user_id for o in found if o.manual is not None}
        self._queue = _by_user(unit.queue_items_of(subjects) if subjects else (), lambda item: subjects[item.subject])

    def facts(self, customer: Customer) -> CustomerFacts:
        """Return one customer's part."""
        user_id = customer.user_id
        return CustomerFacts(
            customer=customer,
            orders=self._orders[user_id],
            subscriptions=self._subscriptions[user_id],
            changes=self._changes[user_id],
            receipts=self._receipts[user_id],
            entitlements=self._entitlements[user_id],
            plans=self._plans,
            balances=self._balances[user_id],
            queue=self._queue[user_id],
            policies=self._policies,
        )


def _by_user(found: Iterable[_Row], user_of: Callable[[_Row], str | None]) -> Mapping[str, list[_Row]]:
    """Group rows by the customer whose they are, in their order; a customer without any has an empty list."""
    groups: dict[str, list[_Row]] = defaultdict(list)
    for row in found:
        groups[user_of(row) or ""].append(row)
    return groups
