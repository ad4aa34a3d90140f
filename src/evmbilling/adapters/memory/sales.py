"""Writing orders, keys, subscriptions, receipts, refunds and mandates: natural keys, versions, pinned facts."""

from __future__ import annotations

from typing import assert_never

import attrs

from evmbilling.adapters.memory.appended import note_appended
from evmbilling.adapters.memory.mandates import store_mandate
from evmbilling.adapters.memory.rows import refer
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.versions import check_saved, replaced
from evmbilling.domain import decisions as d
from evmbilling.domain.payments.receipts import Receipt, ReceiptEntry, Refund
from evmbilling.domain.selling.orders import KeyRecord, Order
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.errors import AlreadyExists, Conflict

SaleDecision = (
    d.OpenOrder
    | d.StoreOrder
    | d.BindKey
    | d.OpenSubscription
    | d.StoreSubscription
    | d.RecordChange
    | d.StoreReceipt
    | d.AppendEntry
    | d.StoreRefund
    | d.StoreMandate
)


_ORDER_PROJECTION = (
    "status",
    "closed_as",
    "completion",
    "failure_reason",
    "external_id",
    "manual",
    "claim",
    "pull",
    "attempts",
    "attempted_at",
    "retry_at",
    "reminded_at",
    "version",
)
_SUBSCRIPTION_PROJECTION = (
    "plan_slug",
    "plan_version",
    "interval",
    "quantity",
    "status",
    "anchor",
    "paid_periods",
    "paid_until",
    "next_charge_at",
    "cancel_at_period_end",
    "debt",
    "segments",
    "dunning_state",
    "dunned_at",
    "chain_id",
    "look_at",
    "looked_at",
    "version",
)


def _open_order(tables: Tables, order: Order) -> None:
    """Insert an order."""
    if tables.orders.get(order.ledger_id) is not None:
        raise AlreadyExists("an order with this id exists", field="ledger_id")
    if tables.orders.find("reference", order.reference):
        raise AlreadyExists("an order with this reference exists", field="reference")
    _put_order(tables, order)
    refer(tables.customers, order.user_id, field="user_id")
    refer(tables.plans, (order.plan_slug, order.plan_version), field="plan_slug")
    if order.subscription_id is not None:
        refer(tables.subscriptions, order.subscription_id, field="subscription_id")


def _store_order(tables: Tables, order: Order) -> None:
    """Replace the projection of an order; what was asked for stays."""
    stored = replaced(tables.orders.get(order.ledger_id), order)
    _put_order(tables, attrs.evolve(stored, **{name: getattr(order, name) for name in _ORDER_PROJECTION}))


def _put_order(tables: Tables, order: Order) -> None:
    tables.orders.put(order.ledger_id, order)
    if len(tables.orders.find("open", (order.subscription_id, order.period))) > 1:
        raise Conflict("an open order for this period of the subscription exists", field="period")
    if order.origin == "renewal" and len(tables.orders.find("renewal", (order.subscription_id, order.period))) > 1:
        raise Conflict("this period of the subscription was asked for before", field="period")


def _bind_key(tables: Tables, record: KeyRecord) -> None:
    """Insert an idempotency key."""
    key = (record.operation, record.user_id, record.key)
    if tables.keys.get(key) is not None:
        raise AlreadyExists("this idempotency key is taken", field="idempotency_key")
    refer(tables.orders, record.ledger_id, field="ledger_id")
    tables.keys.put(key, record)


def _open_subscription(tables: Tables, subscription: Subscription) -> None:
    """Insert a subscription."""
    if tables.subscriptions.get(subscription.subscription_id) is not None:
        raise AlreadyExists("a subscription with this id exists", field="subscription_id")
    _put_subscription(tables, subscription)
    refer(tables.customers, subscription.user_id, field="user_id")
    refer(tables.plans, (subscription.plan_slug, subscription.plan_version), field="plan_slug")


def _store_subscription(tables: Tables, subscription: Subscription) -> None:
    """Replace the projection of a subscription; its facts stay."""
    stored = replaced(tables.subscriptions.get(subscription.subscription_id), subscription)
    projection = {name: getattr(subscription, name) for name in _SUBSCRIPTION_PROJECTION}
    _put_subscription(tables, attrs.evolve(stored, **projection))


def _put_subscription(tables: Tables, subscription: Subscription) -> None:
    tables.subscriptions.put(subscription.subscription_id, subscription)
    if len(tables.subscriptions.find("live", (subscription.user_id, subscription.product))) > 1:
        raise Conflict("the user has a live subscription to this product", field="product")


def _record_change(tables: Tables, change: SubscriptionChange) -> None:
    """Append a subscription change."""
    key = (change.subscription_id, change.seq)
    if tables.changes.get(key) is not None:
        raise AlreadyExists("this change of the subscription is recorded", field="seq")
    refer(tables.subscriptions, change.subscription_id, field="subscription_id")
    tables.changes.put(key, change)
    note_appended(tables, "subscription_changes", f"{change.subscription_id}:{change.seq}", change.recorded_at)


def _store_receipt(tables: Tables, receipt: Receipt) -> None:
    """Insert version 1 of a receipt, or replace the version below; its identity and first sight stay."""
    if receipt.version > 1:
        stored = replaced(tables.receipts.get(receipt.receipt_id), receipt)
        receipt = attrs.evolve(receipt, identity=stored.identity, first_seen_at=stored.first_seen_at)
    elif tables.receipts.get(receipt.receipt_id) is not None:
        raise AlreadyExists("a receipt with this id exists", field="receipt_id")
    elif tables.receipts.find("identity", receipt.identity):
        raise AlreadyExists("this movement on chain has a receipt", field="identity")
    if receipt.ledger_id is not None:
        refer(tables.orders, receipt.ledger_id, field="ledger_id")
    tables.receipts.put(receipt.receipt_id, receipt)


def _append_entry(tables: Tables, entry: ReceiptEntry) -> None:
    """Append to a receipt's journal."""
    key = (entry.receipt_id, entry.seq)
    if tables.entries.get(key) is not None:
        raise AlreadyExists("this entry of the receipt is written", field="seq")
    refer(tables.receipts, entry.receipt_id, field="receipt_id")
    tables.entries.put(key, entry)
    note_appended(tables, "receipt_entries", f"{entry.receipt_id}:{entry.seq}", entry.recorded_at)


def _store_refund(tables: Tables, refund: Refund) -> None:
    """Insert version 1 of a refund, or replace the version below."""
    check_saved(tables.refunds.get(refund.refund_id), refund)
    if refund.ledger_id is not None:
        refer(tables.orders, refund.ledger_id, field="ledger_id")
    if refund.receipt_id is not None:
        refer(tables.receipts, refund.receipt_id, field="receipt_id")
    tables.refunds.put(refund.refund_id, refund)


def write(tables: Tables, decision: SaleDecision) -> None:  # noqa: C901  - one flat table
    """Write one decision about an order, a subscription or money."""
    match decision:
        case d.OpenOrder(order):
            _open_order(tables, order)
        case d.StoreOrder(order):
            _store_order(tables, order)
        case d.BindKey(record):
            _bind_key(tables, record)
        case d.OpenSubscription(subscription):
            _open_subscription(tables, subscription)
        case d.StoreSubscription(subscription):
            _store_subscription(tables, subscription)
        case d.RecordChange(change):
            _record_change(tables, change)
        case d.StoreReceipt(receipt):
            _store_receipt(tables, receipt)
        case d.AppendEntry(entry):
            _append_entry(tables, entry)
        case d.StoreRefund(refund):
            _store_refund(tables, refund)
        case d.StoreMandate(mandate):
            store_mandate(tables, mandate)
        case _:
            assert_never(decision)
