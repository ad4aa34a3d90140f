"""Reads of orders, subscriptions, receipts and refunds."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.session import UNKNOWN, Session, several
from evmbilling.adapters.sqlalchemy.rows import billing, money, subscriptions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.identity import CreditIdentity, Product
    from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
    from evmbilling.domain.selling.orders import KeyRecord, Order
    from evmbilling.domain.selling.searching import OrderFilter
    from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange

LIVE = "status NOT IN ('ended', 'incomplete_expired')"
OFFERED = "closed_as IS NULL AND status IN ('pending', 'partially_paid', 'reversed')"
MARKED = "mark IS NOT NULL"
SUSPENSE = "allocation = 'suspense'"
"""Conditions of partial indexes, in the words of the index: a planner matches them only when they are spelt out."""


class OrderStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        keys, orders = tables["idempotency_keys"], tables["payment_transactions"]
        self._orders = orders
        self.key = sa.select(keys).where(
            keys.c.operation == bindparam("operation"),
            keys.c.user_id == bindparam("user_id"),
            keys.c.key == bindparam("key"),
        )
        self.order = sa.select(orders).where(orders.c.ledger_id == bindparam("ledger_id"))
        newest = sa.select(orders).order_by(orders.c.ledger_id.desc()).limit(bindparam("most"))
        self.orders_of_user = newest.where(orders.c.user_id == bindparam("user_id"))
        self.orders_of_user_before = self.orders_of_user.where(orders.c.ledger_id < bindparam("before"))
        self.by_id = sa.select(orders).where(orders.c.ledger_id.in_(several("ledger_ids")))
        self.by_reference = sa.select(orders).where(orders.c.reference.in_(several("references")))
        self.by_mark = sa.select(orders).where(orders.c.mark.in_(several("marks")), sa.text(MARKED))
        self.of_subscriptions = (
            sa.select(orders)
            .where(orders.c.subscription_id.in_(several("subscription_ids")))
            .order_by(orders.c.ledger_id)
        )
        self.overdue = (
            sa.select(orders)
            .where(orders.c.chain_id == bindparam("chain_id"), sa.text(OFFERED))
            .where(orders.c.deadline < bindparam("before"))
            .order_by(orders.c.deadline, orders.c.ledger_id)
            .limit(bindparam("most"))
        )
        self._build_subscriptions(tables["subscriptions"], tables["subscription_changes"])
        self._build_receipts(tables["payment_receipts"], tables["receipt_entries"], tables["refunds"])

    def found(self, wanted: OrderFilter, before: str | None) -> sa.Select[Any]:
        """Return what finds orders by conditions, newest first."""
        columns = self._orders.c
        equal = {
            columns.network: wanted.network,
            columns.user_id: wanted.user_id,
            columns.plan_slug: wanted.plan_slug,
            columns.symbol: wanted.symbol,
            columns.wallet: wanted.wallet,
            columns.tx_hash: wanted.tx_hash,
            columns.origin: wanted.origin,
        }
        conditions = [column == value for column, value in equal.items() if value is not None]
        if wanted.statuses:
            conditions.append(columns.status.in_([str(status) for status in wanted.statuses]))
        if wanted.created_from is not None:
            conditions.append(columns.created_at >= wanted.created_from)
        if wanted.created_before is not None:
            conditions.append(columns.created_at < wanted.created_before)
        if wanted.deadline_from is not None:
            conditions.append(columns.deadline >= wanted.deadline_from)
        if before is not None:
            conditions.append(columns.ledger_id < before)
        return sa.select(self._orders).where(*conditions).order_by(columns.ledger_id.desc())

    def _build_subscriptions(self, subscriptions: sa.Table, changes: sa.Table) -> None:
        columns = subscriptions.c
        self.live = sa.select(subscriptions).where(
            columns.user_id == bindparam("user_id"),
            columns.product_type == bindparam("product_type"),
            columns.product_id == bindparam("product_id"),
            sa.text(LIVE),
        )
        ordered = sa.select(subscriptions).order_by(columns.subscription_id)
        self.subscriptions = ordered.where(columns.subscription_id.in_(several("subscription_ids")))
        self.of_user = ordered.where(columns.user_id == bindparam("user_id"))
        self.changes = (
            sa.select(changes)
            .where(changes.c.subscription_id.in_(several("subscription_ids")))
            .order_by(changes.c.subscription_id, changes.c.seq)
        )

    def _build_receipts(self, receipts: sa.Table, entries: sa.Table, refunds: sa.Table) -> None:
        columns = receipts.c
        self.of_orders = (
            sa.select(receipts)
            .where(columns.ledger_id.in_(several("ledger_ids")))
            .order_by(columns.chain_id, columns.tx_hash, columns.ordinal)
        )
        self.by_identity = sa.select(receipts).where(
            columns.chain_id == bindparam("chain_id"), columns.tx_hash.in_(several("tx_hashes"))
        )
        self.unmatched = (
            sa.select(receipts)
            .where(sa.text(SUSPENSE))
            .order_by(columns.first_seen_at, columns.receipt_id)
            .limit(bindparam("most"))
        )
        self.entries = sa.select(entries).where(entries.c.receipt_id == bindparam("receipt_id")).order_by(entries.c.seq)
        self.refunds = (
            sa.select(refunds).where(refunds.c.ledger_id == bindparam("ledger_id")).order_by(refunds.c.refund_id)
        )


def by_chain(identities: Collection[CreditIdentity]) -> list[tuple[int, list[bytes]]]:
    """Group movements into one IN list of transactions per chain."""
    ordered = sorted({(identity.chain_id, identity.tx_hash) for identity in identities})
    return [(chain, [tx for _, tx in group]) for chain, group in groupby(ordered, key=lambda pair: pair[0])]


class OrderReader(Session):
    """Implements :class:`evmbilling.ports.storage.OrderReads`."""

    def key(self, operation: str, user_id: str, key: str) -> KeyRecord | None:
        """Return an idempotency key."""
        known: KeyRecord | None = self._ahead("key", operation, user_id, key)
        if known is not UNKNOWN:
            return known
        row = self._one(self._statements.orders.key, operation=operation, user_id=user_id, key=key)
        return None if row is None else billing.read_key(row)

    def order(self, ledger_id: str) -> Order | None:
        """Return an order."""
        row = self._one(self._statements.orders.order, ledger_id=ledger_id)
        return None if row is None else billing.read_order(row)

    def orders_of_user(self, user_id: str, *, before: str | None = None, limit: int = 100) -> Sequence[Order]:
        """Return a page of a user's orders, newest first, below the given ledger id."""
        statement = self._statements.orders.orders_of_user
        values: dict[str, Any] = {"user_id": user_id, "most": limit}
        if before is not None:
            statement, values["before"] = self._statements.orders.orders_of_user_before, before
        return [billing.read_order(row) for row in self._all(statement, **values)]

    def find_orders(self, wanted: OrderFilter, *, before: str | None = None, limit: int = 100) -> Sequence[Order]:
        """Return a page of the orders that meet all conditions, newest first, below the given ledger id."""
        statement = self._statements.orders.found(wanted, before).limit(limit)
        return [billing.read_order(row) for row in self._composed(statement)]

    def orders(self, ledger_ids: Collection[str]) -> Mapping[str, Order]:
        """Return orders by id."""
        found = self._in(self._statements.orders.by_id, "ledger_ids", ledger_ids)
        return {row.ledger_id: billing.read_order(row) for row in found}

    def orders_by_reference(self, references: Collection[bytes]) -> Mapping[bytes, Order]:
        """Return the orders that these references name."""
        found = self._in(self._statements.orders.by_reference, "references", references)
        named = {row.reference: billing.read_order(row) for row in found}
        rest = [reference for reference in references if reference not in named]
        marked = self._in(self._statements.orders.by_mark, "marks", rest) if rest else ()
        return {row.mark: billing.read_order(row) for row in marked} | named

    def orders_of_subscriptions(self, subscription_ids: Collection[str]) -> Sequence[Order]:
        """Return all orders of these subscriptions by ledger id."""
        found = self._in(self._statements.orders.of_subscriptions, "subscription_ids", subscription_ids)
        return sorted((billing.read_order(row) for row in found), key=lambda order: order.ledger_id)

    def overdue_offers(self, chain_id: int, before: datetime, limit: int) -> Sequence[Order]:
        """Return offered orders of a chain with a deadline before an instant, the oldest deadline first."""
        found = self._all(self._statements.orders.overdue, chain_id=chain_id, before=before, most=limit)
        return [billing.read_order(row) for row in found]

    def live_subscription(self, user_id: str, product: Product) -> Subscription | None:
        """Return the user's live subscription to a product."""
        known: Subscription | None = self._ahead("live", user_id, product)
        if known is not UNKNOWN:
            return known
        row = self._one(self._statements.orders.live, user_id=user_id, product_type=product.type, product_id=product.id)
        return None if row is None else subscriptions.read_subscription(row)

    def subscriptions(self, subscription_ids: Collection[str]) -> Mapping[str, Subscription]:
        """Return subscriptions by id."""
        found = self._in(self._statements.orders.subscriptions, "subscription_ids", subscription_ids)
        return {row.subscription_id: subscriptions.read_subscription(row) for row in found}

    def subscriptions_of_user(self, user_id: str) -> Sequence[Subscription]:
        """Return a user's subscriptions by id."""
        found = self._all(self._statements.orders.of_user, user_id=user_id)
        return [subscriptions.read_subscription(row) for row in found]

    def changes(self, subscription_ids: Collection[str]) -> Sequence[SubscriptionChange]:
        """Return the changes of these subscriptions by (subscription, seq)."""
        found = self._in(self._statements.orders.changes, "subscription_ids", subscription_ids)
        return [subscriptions.read_change(row) for row in found]

    def receipts_of_orders(self, ledger_ids: Collection[str]) -> Sequence[Receipt]:
        """Return the receipts of these orders by identity."""
        found = self._in(self._statements.orders.of_orders, "ledger_ids", ledger_ids)
        return sorted((money.read_receipt(row) for row in found), key=lambda receipt: receipt.identity)

    def receipts_by_identity(self, identities: Collection[CreditIdentity]) -> Mapping[CreditIdentity, Receipt]:
        """Return the receipts of these movements."""
        wanted = set(identities)
        receipts = [
            money.read_receipt(row)
            for chain_id, hashes in by_chain(wanted)
            for row in self._in(self._statements.orders.by_identity, "tx_hashes", hashes, chain_id=chain_id)
        ]
        return {receipt.identity: receipt for receipt in receipts if receipt.identity in wanted}

    def unmatched_receipts(self, limit: int = 100) -> Sequence[Receipt]:
        """Return receipts in suspense, oldest first."""
        return [money.read_receipt(row) for row in self._all(self._statements.orders.unmatched, most=limit)]

    def entries(self, receipt_id: str) -> Sequence[ReceiptEntry]:
        """Return a receipt's journal by seq."""
        return [money.read_entry(row) for row in self._all(self._statements.orders.entries, receipt_id=receipt_id)]

    def refunds_of_order(self, ledger_id: str) -> Sequence[Refund]:
        """Return the refunds of an order by id."""
        return [money.read_refund(row) for row in self._all(self._statements.orders.refunds, ledger_id=ledger_id)]
