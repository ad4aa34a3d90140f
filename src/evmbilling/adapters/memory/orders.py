"""Orders, their keys, subscriptions, receipts and refunds, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from evmbilling.adapters.memory.reads import Reads
from evmbilling.domain.identity import CreditIdentity, Product
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
from evmbilling.domain.selling.orders import KeyRecord, Order
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange


class MemoryOrders(Reads):
    """Implements :class:`evmbilling.ports.storage.OrderReads`."""

    def key(self, operation: str, user_id: str, key: str) -> KeyRecord | None:
        """Return an idempotency key."""
        return self._tables.keys.get((operation, user_id, key))

    def order(self, ledger_id: str) -> Order | None:
        """Return an order."""
        return self._tables.orders.get(ledger_id)

    def orders_of_user(self, user_id: str, *, before: str | None = None, limit: int = 100) -> Sequence[Order]:
        """Return a page of a user's orders, newest first, below the given ledger id."""
        ordered = sorted(self._tables.orders.find("user", user_id), key=lambda o: o.ledger_id, reverse=True)
        return [o for o in ordered if before is None or o.ledger_id < before][:limit]

    def find_orders(self, wanted: OrderFilter, *, before: str | None = None, limit: int = 100) -> Sequence[Order]:
        """Return a page of the orders that meet all conditions, newest first, below the given ledger id."""
        found = (order for order in self._tables.orders.values() if wanted.takes(order))
        ordered = sorted(found, key=lambda order: order.ledger_id, reverse=True)
        return [order for order in ordered if before is None or order.ledger_id < before][:limit]

    def orders(self, ledger_ids: Collection[str]) -> Mapping[str, Order]:
        """Return orders by id."""
        found = (self._tables.orders.get(ledger_id) for ledger_id in set(ledger_ids))
        return {order.ledger_id: order for order in found if order is not None}

    def orders_by_reference(self, references: Collection[bytes]) -> Mapping[bytes, Order]:
        """Return the orders that these references name."""
        named = {o.reference: o for ref in references for o in self._tables.orders.find("reference", ref)}
        marked = (ref for ref in references if ref not in named)
        return {ref: o for ref in marked for o in self._tables.orders.find("mark", ref)} | named

    def orders_of_subscriptions(self, subscription_ids: Collection[str]) -> Sequence[Order]:
        """Return all orders of these subscriptions by ledger id."""
        found = [o for s in set(subscription_ids) for o in self._tables.orders.find("subscription", s)]
        return sorted(found, key=lambda o: o.ledger_id)

    def overdue_offers(self, chain_id: int, before: datetime, limit: int) -> Sequence[Order]:
        """Return offered orders of a chain whose deadline is before an instant, the oldest deadline first."""
        found = [o for o in self._tables.orders.find("offer", chain_id) if o.deadline < before]
        return sorted(found, key=lambda o: (o.deadline, o.ledger_id))[:limit]

    def live_subscription(self, user_id: str, product: Product) -> Subscription | None:
        """Return the user's live subscription to a product."""
        return next(iter(self._tables.subscriptions.find("live", (user_id, product))), None)

    def subscriptions(self, subscription_ids: Collection[str]) -> Mapping[str, Subscription]:
        """Return subscriptions by id."""
        found = {s: self._tables.subscriptions.get(s) for s in sorted(set(subscription_ids))}
        return {s: subscription for s, subscription in found.items() if subscription is not None}

    def subscriptions_of_user(self, user_id: str) -> Sequence[Subscription]:
        """Return a user's subscriptions by id."""
        return sorted(self._tables.subscriptions.find("user", user_id), key=lambda s: s.subscription_id)

    def changes(self, subscription_ids: Collection[str]) -> Sequence[SubscriptionChange]:
        """Return the changes of these subscriptions by (subscription, seq)."""
        found = [c for s in set(subscription_ids) for c in self._tables.changes.find("subscription", s)]
        return sorted(found, key=lambda c: (c.subscription_id, c.seq))

    def receipts_of_orders(self, ledger_ids: Collection[str]) -> Sequence[Receipt]:
        """Return the receipts of these orders by identity."""
        found = [r for ledger_id in set(ledger_ids) for r in self._tables.receipts.find("order", ledger_id)]
        return sorted(found, key=lambda r: r.identity)

    def receipts_by_identity(self, identities: Collection[CreditIdentity]) -> Mapping[CreditIdentity, Receipt]:
        """Return the receipts of these movements."""
        return {r.identity: r for identity in identities for r in self._tables.receipts.find("identity", identity)}

    def unmatched_receipts(self, limit: int = 100) -> Sequence[Receipt]:
        """Return receipts in suspense, oldest first."""
        found = self._tables.receipts.find("suspense", True)
        return sorted(found, key=lambda r: (r.first_seen_at, r.receipt_id))[:limit]

    def entries(self, receipt_id: str) -> Sequence[ReceiptEntry]:
        """Return a receipt's journal by seq."""
        return sorted(self._tables.entries.find("receipt", receipt_id), key=lambda e: e.seq)

    def refunds_of_order(self, ledger_id: str) -> Sequence[Refund]:
        """Return the refunds of an order by id."""
        return sorted(self._tables.refunds.find("order", ledger_id), key=lambda r: r.refund_id)
