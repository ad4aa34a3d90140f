"""Projections against their folds: orders, subscriptions, entitlements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.catalogue.plan_terms import asks_for
from evmbilling.domain.identity import INSTANCE_ID_BYTES, make_reference
from evmbilling.domain.payments.paying import purchase_moment
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import OrderStatus
from evmbilling.domain.subscriptions.access import Entitlement, entitle_purchase, entitle_subscription
from evmbilling.domain.subscriptions.rivals import stale_orders
from evmbilling.domain.subscriptions.standing import order_standing, standing
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.domain.subscriptions.terms import plan_keys
from evmbilling.engine.verify.asked import AskedCheck
from evmbilling.engine.verify.queue import check_marks_asked
from evmbilling.engine.verify.report import Findings
from evmbilling.errors import BillingError
from evmbilling.ports.storage import Unit

PAGE = 500
_MOMENT = timedelta(microseconds=1)
_TIMELESS = ("anchor", "segments", "paid_periods", "paid_until", "dunning_state")
"""What of a subscription's projection no passing of time changes."""
_TIMED = ("cancel_at_period_end", "debt")
"""What time alone moves too: it has to be right at one of the instants at which it may have been written."""


class StandingCheck:
    """Folds every order, subscription and entitlement anew and compares."""

    def __init__(self, unit: Unit, findings: Findings, now: datetime, instance_id: bytes, *, asked: AskedCheck) -> None:
        self._instance_id = instance_id
        self._asked = asked
        self._unit = unit
        self._findings = findings
        self._now = now

    def run(self) -> None:
        """Find every stored projection that is not the fold of its facts."""
        after = ""
        while page := self._unit.all_orders(after=after, limit=PAGE):
            self._check_page(page)
            after = page[-1].ledger_id
        after = ""
        while people := self._unit.customers(after=after, limit=PAGE):
            self._check_imported([customer.user_id for customer in people])
            after = people[-1].user_id

    def _check_imported(self, users: Sequence[str]) -> None:
        """Check subscribers who were imported and have not been asked for anything yet: they are on no order's page."""
        held = {e.subscription_id for e in self._unit.entitlements(users) if e.subscription_id is not None}
        imported = {c.subscription_id for c in self._unit.changes(held) if c.adoption is not None} if held else set()
        if not imported:
            return
        shelf = _Shelf(self._unit, (), imported)
        for name, stored in shelf.subscriptions.items():
            if not shelf.orders_of[name]:
                self._check_subscription(stored, shelf)

    def _check_page(self, page: Sequence[Order]) -> None:
        self._findings.looked_at("orders", len(page))
        shelf = _Shelf(self._unit, page)
        for order in page:
            own = shelf.receipts[order.ledger_id]
            self._check_order(order, own)
            subscription = shelf.subscriptions.get(order.subscription_id or "")
            if order.subscription_id is None:
                plan = shelf.plans[(order.plan_slug, order.plan_version)]
                self._check_entitlement(
                    shelf.entitlements.get(order.ledger_id), _purchase(order, plan, own), f"order:{order.ledger_id}"
                )
            elif subscription is None:
                self._findings.add("order_projection_differs", f"order:{order.ledger_id}", reason="no_subscription")
            elif shelf.first_order(subscription) == order.ledger_id:
                self._check_subscription(subscription, shelf)

    def _check_order(self, order: Order, own: Sequence[Receipt]) -> None:
        subject = f"order:{order.ledger_id}"
        reference = make_reference(self._instance_id, order.ledger_id)
        # A copy that was renewed has another instance id than the orders that came with it.
        if order.reference[INSTANCE_ID_BYTES:] != reference[INSTANCE_ID_BYTES:]:
            self._findings.add(
                "order_projection_differs",
                subject,
                expected=reference.hex(),
                found=order.reference.hex(),
                reason="reference",
            )
        for name, expected, told in self._asked.faults(order, own):
            self._findings.add("order_projection_differs", subject, expected=expected, found=told, reason=name)
        try:
            folded = order_standing(order, own)
        except BillingError as error:
            self._findings.add("order_projection_differs", subject, found=order.status, reason=error.code)
            return
        # What is reversed goes on when it is folded next: to why it had been closed, or to a payment on its way.
        further = {order.closed_as, OrderStatus.CONFIRMING}
        onward = order.status is OrderStatus.REVERSED and folded.status in further
        if folded != order and not onward:
            self._findings.add(
                "order_projection_differs",
                subject,
                expected=folded.status,
                found=order.status,
                reason="status" if folded.status is not order.status else "completion",
            )

    def _check_subscription(self, stored: Subscription, shelf: _Shelf) -> None:
        self._findings.looked_at("subscriptions", 1)
        subject = f"subscription:{stored.subscription_id}"
        orders = shelf.orders_of[stored.subscription_id]
        receipts = [r for order in orders for r in shelf.receipts[order.ledger_id]]
        if any(order.manual is not None for order in orders):
            self._check_marks(stored, orders, receipts, shelf)
        folds = self._folds(stored, orders, receipts, shelf.changes[stored.subscription_id], shelf.plans)
        if not folds:
            self._findings.add("subscription_projection_differs", subject, found=stored.status, reason="status")
            return
        for name in _TIMELESS:
            expected, found = getattr(folds[0], name), getattr(stored, name)
            if expected != found:
                self._findings.add(
                    "subscription_projection_differs", subject, expected=expected, found=found, reason=name
                )
        for name in _TIMED:
            told = {getattr(fold, name) for fold in folds}
            if getattr(stored, name) not in told:
                self._findings.add(
                    "subscription_projection_differs",
                    subject,
                    expected=" or ".join(sorted(map(str, told))),
                    found=getattr(stored, name),
                    reason=name,
                )
        statuses = {fold.status for fold in folds}
        if stored.status not in statuses:
            self._findings.add(
                "subscription_projection_differs",
                subject,
                expected=" or ".join(sorted(statuses)),
                found=stored.status,
                reason="status",
            )
        decided = any(change.terms is not None for change in shelf.changes[stored.subscription_id])
        # Until somebody decides about its terms they are those of its first order.
        begun = decided or not orders or asks_for(min(orders, key=lambda o: o.ledger_id), stored.terms)
        if not begun or stored.terms not in {fold.terms for fold in folds}:
            self._findings.add(
                "subscription_projection_differs",
                subject,
                expected=folds[0].terms.plan_slug,
                found=stored.plan_slug,
                reason="terms",
            )
        expected = entitle_subscription(stored, shelf.plans[(stored.plan_slug, stored.plan_version)])
        self._check_entitlement(shelf.entitlements.get(stored.subscription_id), expected, subject)

    def _check_marks(
        self, stored: Subscription, orders: Sequence[Order], receipts: Sequence[Receipt], shelf: _Shelf
    ) -> None:
        """Find orders that a person marked as paid, that buy nothing, and that nobody is asked about."""
        places = {r.receipt_id: (r.allocation, r.reason) for r in receipts}
        changes = shelf.changes[stored.subscription_id]
        stale = stale_orders(stored, orders, receipts, changes, places, plans=shelf.plans)
        check_marks_asked(self._unit, self._findings, orders, receipts, stale)

    def _folds(
        self,
        stored: Subscription,
        orders: Sequence[Order],
        receipts: Sequence[Receipt],
        changes: Sequence[SubscriptionChange],
        plans: Mapping[tuple[str, int], SubscriptionPlan],
    ) -> list[Subscription]:
        """Fold at now, and just before each instant at which time alone moves a subscription.

        Nobody may have looked since: a stored status is right when it was right at one of them.
        """
        marks = [stored.start_at, stored.trial_end, stored.paid_until, *(c.effective_at for c in changes)]
        if stored.table is not None:
            marks += [stored.table.start(c.period) for c in changes if c.terms is not None and c.period is not None]
            if any(change.terms is not None for change in changes):
                # A period that was paid on other terms than held before it brings them where it begins.
                marks += [stored.table.start(period) for period in range(stored.paid_periods)]
        instants = [self._now, *(at - _MOMENT for at in marks if at is not None and at <= self._now)]
        folds: list[Subscription] = []
        for at in instants:
            try:
                folds.append(standing(stored, orders, receipts, changes, at, plans=plans).subscription)
            except BillingError:
                continue
        return folds

    def _check_entitlement(self, stored: Entitlement | None, expected: Entitlement, subject: str) -> None:
        """Compare what a source gives with what it should give; who was never given anything has no row."""
        self._findings.looked_at("entitlements", int(stored is not None))
        if stored is None:
            if expected.basis == "paid":
                self._findings.add("entitlement_differs", subject, expected="paid", reason="absent")
            return
        # Whether a dispute closes access is what the network's policy said at the time, and what was told was told.
        expected = attrs.evolve(expected, disputed=stored.disputed, told=stored.told)
        names = [a.name for a in attrs.fields(Entitlement) if getattr(expected, a.name) != getattr(stored, a.name)]
        for name in names:
            self._findings.add(
                "entitlement_differs",
                subject,
                expected=getattr(expected, name),
                found=getattr(stored, name),
                reason=name,
            )


class _Shelf:
    """Everything that a page of orders hangs together with, read in one go.

    A subscription's orders may be on several pages; all of them are read with its first.
    """

    def __init__(self, unit: Unit, page: Sequence[Order], further: Collection[str] = ()) -> None:
        ids = {o.subscription_id for o in page if o.subscription_id} | set(further)
        self.orders_of: dict[str, list[Order]] = defaultdict(list)
        for order in unit.orders_of_subscriptions(ids) if ids else ():
            self.orders_of[order.subscription_id or ""].append(order)
        self.subscriptions = unit.subscriptions(ids)
        self.changes: dict[str, list[SubscriptionChange]] = defaultdict(list)
        for change in unit.changes(ids):
            self.changes[change.subscription_id].append(change)
        everything = [*page, *(o for orders in self.orders_of.values() for o in orders)]
        self.receipts: dict[str, list[Receipt]] = defaultdict(list)
        for receipt in unit.receipts_of_orders({o.ledger_id for o in everything}):
            self.receipts[receipt.ledger_id or ""].append(receipt)
        users = {o.user_id for o in page} | {s.user_id for s in self.subscriptions.values()}
        self.entitlements: Mapping[str, Entitlement] = {e.source_id: e for e in unit.entitlements(users)}
        pinned = {(s.plan_slug, s.plan_version) for s in self.subscriptions.values()}
        pinned |= {key for changes in self.changes.values() for key in plan_keys(changes)}
        self.plans: Mapping[tuple[str, int], SubscriptionPlan] = unit.plan_versions(
            pinned | {(o.plan_slug, o.plan_version) for o in page}
        )

    def first_order(self, subscription: Subscription) -> str:
        """Return the ledger id of a subscription's first order, on whose page it is checked."""
        return min(o.ledger_id for o in self.orders_of[subscription.subscription_id])


def _purchase(order: Order, plan: SubscriptionPlan, own: Sequence[Receipt]) -> Entitlement:
    return entitle_purchase(order, plan, paid_at=purchase_moment(order, own))
