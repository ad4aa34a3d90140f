"""Charging what is due by a mandate, and saying what is owed when it is not paid."""

from __future__ import annotations

from datetime import datetime, timedelta

from evmbilling.domain.mandates.charges import REASK, Charge, Pull, StoreCharge, charge_plan, is_fresh
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import OrderStatus
from evmbilling.domain.subscriptions.asking import Asking
from evmbilling.domain.subscriptions.calendar import add_days
from evmbilling.domain.subscriptions.looking import is_in_flight, renewal_orders

UNTIL_SWEPT = timedelta(minutes=10)
"""How long a charge waits for what lies at a deposit address before it is looked at again."""


class Charging(Asking):
    """What is taken, and what is owed."""

    def claim(self) -> None:
        """Say what is owed and what is given up; not while money may be on its way, nor before a mandate was tried."""
        asked = renewal_orders(self.draft.all_orders)
        for period in self.due:
            order = asked.get(period)
            if order is None or order.claim == "forgiven" or is_in_flight(self.draft.all_orders, period):
                continue
            if period not in self.owed:
                self.draft.forgive(order)
                self.counts["forgiven"] += 1
            elif order.claim is None and (order.attempts or not self.pulls(order)):
                self.draft.put(order, claim="owed")
            elif order.claim is None and order.retry_at is None:
                self.draft.put(order, retry_at=self.first_attempt(order))

    def pulls(self, order: Order) -> bool:
        """Whether an order is charged by a mandate, now or at its time."""
        plan = charge_plan(order, self.terms.cover, self.as_of)
        return bool(self.attempt_days(order)) and isinstance(plan, Pull)

    def attempt_days(self, order: Order) -> tuple[int, ...]:
        """Return the days on which an order is charged; none after a failure that no waiting mends."""
        if is_fresh(self.terms.cover, order):
            return self.policy.attempts.days
        return () if order.failure_reason in REASK else self.policy.attempts.of(order.failure_reason)

    def charge(self) -> None:
        """Hand over the charges that are due."""
        asked = renewal_orders(self.draft.all_orders)
        day = self.draft.now.date()
        tried = [o.attempted_at for o in asked.values() if o.attempted_at is not None]
        today = sum(moment.date() == day for moment in tried)
        for period in sorted(self.owed):
            order = asked.get(period)
            plan = charge_plan(order, self.terms.cover, self.as_of) if order is not None else None
            if order is None or not isinstance(plan, Pull) or not self.pulls(order):
                continue
            if (order.retry_at or self.first_attempt(order)) > self.as_of:
                continue
            if period in self.terms.arriving:
                # Somebody has sent the money already; it would be taken twice.
                self.draft.put(order, retry_at=self.as_of + UNTIL_SWEPT)
                continue
            if today >= self.policy.charges_per_day:
                tomorrow = self.draft.now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
                self.draft.put(order, claim="owed", retry_at=tomorrow)
                continue
            today += 1
            self.request(order, plan)

    def request(self, order: Order, plan: Pull) -> None:
        """Hand over one charge."""
        changed = self.draft.put(
            order, pull="submitted", attempts=order.attempts + 1, attempted_at=self.draft.now, retry_at=None
        )
        self.draft.add(
            StoreCharge(
                Charge(
                    ledger_id=order.ledger_id,
                    attempt=changed.attempts,
                    user_id=order.user_id,
                    subscription_id=self.draft.before.subscription_id,
                    mandate_id=plan.mandate_id,
                    chain_id=order.chain_id,
                    requested_at=self.draft.now,
                )
            )
        )
        self.counts["charged"] += 1

    def answer_failures(self) -> None:
        """Say when a charge that failed is tried again, by its reason; without a time the payer is asked."""
        for order in self.draft.all_orders:
            if order.status is OrderStatus.FAILED and order.closed_as is None:
                self.draft.put(order, pull=None, retry_at=self.next_attempt(order))

    def first_attempt(self, order: Order) -> datetime:
        """Return when an order is charged first."""
        return add_days(order.due_at or self.as_of, self.policy.attempts.days[0], self.draft.before.zone)

    def next_attempt(self, order: Order) -> datetime | None:
        """Return the first time of the schedule that is after the last attempt, and on another day."""
        zone, days = self.draft.before.zone, self.attempt_days(order)
        due, tried = order.due_at or self.as_of, order.attempted_at or self.as_of
        return next((at for at in (add_days(due, day, zone) for day in days) if at.date() > tried.date()), None)
