"""Asking: which periods a subscription has to be asked for, and the one order of each."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property

import attrs
from attrs import frozen

from evmbilling.domain.journal import order_facts
from evmbilling.domain.mandates.charges import Cover, Pull, charge_plan
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.selling.offering import CheckoutRequest, ExtraLines, Offer, draw_order, make_lines, period_lines
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.dunning import DunningPolicy
from evmbilling.domain.subscriptions.looking import (
    TOO_LATE,
    asks_at,
    is_asked_by_biller,
    is_in_flight,
    may_be_offered_again,
    renewal_orders,
    stands_in_the_way,
)
from evmbilling.domain.subscriptions.pausing_times import open_pause

MOST_AT_ONCE = 32
"""Orders of one subscription that one look makes; what is left is made by the next one."""
MOST_A_DAY = 31
"""Orders of one subscription that ask for money and are made on one day (UTC), whatever goes wrong."""
_LONGEST_ASK = timedelta(days=366)


@frozen(kw_only=True)
class Terms:
    """On what terms a subscription is renewed: those of its newest order.

    Attributes:
        request: who pays from where, in which asset.
        offer: where the plan is sold for that; None when it cannot be, ``refusal`` says why.
        cover: the payer's mandate, when there is one.
        extra: adds tax and discount lines.
        instance_id: 8 bytes that prefix every reference.
        changed: on what terms it is asked for from the period on with which a change begins that waits.
        arriving: periods whose price lies at a deposit address and is about to be swept.

    """

    request: CheckoutRequest
    offer: Offer | None
    refusal: str | None = None
    cover: Cover | None = None
    extra: ExtraLines | None = None
    instance_id: bytes
    changed: Terms | None = None
    arriving: frozenset[int] = frozenset()


class Asking:
    """What is asked for, as far as payments are known."""

    def __init__(self, draft: SubscriptionDraft, terms: Terms) -> None:
        self.draft = draft
        self.terms = terms
        self.as_of = draft.as_of
        self.counts = dict.fromkeys(("opened", "charged", "forgiven", "reminded", "dunned", "ended"), 0)
        self.held: str | None = None

    @property
    def policy(self) -> DunningPolicy:
        """What happens with debt, by the plan that holds."""
        return self.draft.policy

    def terms_of(self, period: int) -> Terms:
        """Return on what terms a period is asked for."""
        waiting = self.draft.book.waiting
        begun = waiting is not None and waiting.period is not None and waiting.period <= period
        return self.terms.changed if begun and self.terms.changed is not None else self.terms

    @cached_property
    def due(self) -> list[int]:
        """The periods that have begun and are not settled."""
        table = self.draft.held.table
        current = table.index_at(self.as_of) if table is not None else -1
        return [n for n in range(self.draft.held.paid_periods, current + 1) if n not in self.draft.paid]

    @cached_property
    def owed(self) -> frozenset[int]:
        """Those of them that a late payer owes: the newest, as many as the plan's policy says."""
        most = self.policy.owed_periods
        return frozenset(self.due if most is None else self.due[-most:])

    @cached_property
    def ahead(self) -> int | None:
        """The period that is asked for before it begins; None when it is too early, or something is still owed."""
        first = self.draft.held.paid_periods
        while first in self.draft.paid:
            first += 1
        asked_at = asks_at(self.draft.held, first, self.policy)
        table, pause = self.draft.held.table, open_pause(self.draft.changes)
        if table is not None and pause is not None and pause.since <= table.start(first):
            return None
        return first if not self.due and asked_at is not None and asked_at <= self.as_of else None

    def wanted(self) -> list[int]:
        """Return the periods that are asked for now."""
        return [*self.due, *([self.ahead] if self.ahead is not None else [])]

    def ask(self) -> None:
        """Make the orders that are absent: one for each period."""
        asked = renewal_orders(self.draft.all_orders)
        orders = self.draft.all_orders
        absent = [
            n
            for n in self.wanted()
            if n not in asked and not is_in_flight(orders, n) and stands_in_the_way(orders, n) is None
        ]
        refused = next((self.terms_of(n) for n in absent if self.terms_of(n).offer is None), None)
        if refused is not None:
            self.held = refused.refusal or "not_sold"
            return
        made = [o for o in orders if is_asked_by_biller(o) and o.claim != "forgiven"]
        today = sum(o.created_at.date() == self.draft.now.date() for o in made)
        for period in absent[:MOST_AT_ONCE]:
            if period in self.owed or period == self.ahead:
                if today >= MOST_A_DAY:
                    self.held = "too_many_today"
                    return
                today += 1
            order = self.draw(period)
            if order is not None:
                self.open(order)

    def open(self, order: Order) -> None:
        """Take a new order; it is told unless it is given up at once."""
        forgiven = order.period in self.due and order.period not in self.owed
        made = self.draft.put(order)
        self.counts["opened"] += 1
        if forgiven:
            self.draft.forgive(made)
            self.counts["forgiven"] += 1
        else:
            self.draft.journal.publish(EventType.ORDER_OPENED, order_facts(made))

    def draw(self, period: int) -> Order | None:
        """Return the order of a period; None when there is nothing to pay for it."""
        terms, table = self.terms_of(period), self.draft.held.table
        offer = terms.offer
        if table is None or offer is None:
            return None
        again = any(o.origin == "renewal" and o.period == period for o in self.draft.all_orders)
        wanted = self.draft.book.wanted(period, table)
        request = attrs.evolve(terms.request, quantity=wanted.quantity)
        lines = period_lines(make_lines(offer, request.user_id, request.quantity, terms.extra), table, period)
        order = draw_order(
            request,
            offer,
            lines=lines,
            instance_id=self.terms.instance_id,
            ledger_id=self.draft.new_id(),
            now=self.draft.now,
            deadline=self.deadline(period),
            subscription=self.draft.held,
            period=period,
            origin="change" if again else "renewal",
            due_at=table.start(period),
        )
        pulled = isinstance(charge_plan(order, self.terms.cover, table.start(period)), Pull)
        if pulled and self.policy.attempts.days:
            # Whoever gave a mandate for it is not asked before it was tried.
            order = attrs.evolve(order, reminded_at=order.due_at)
        return order

    def deadline(self, period: int) -> datetime:
        """Return until when the order of a period can be paid: as long as it may be owed."""
        table, offer = self.draft.held.table, self.terms.offer
        least = self.draft.now + timedelta(seconds=offer.gateway.order_ttl if offer is not None else 0)
        if table is None:
            return least
        most = self.policy.owed_periods
        last = table.end(period) + _LONGEST_ASK if most is None else table.end(period + most - 1)
        return max(last, least)

    def offer_again(self) -> None:
        """Offer renewals again that were withdrawn for something that is over."""
        asked = renewal_orders(self.draft.all_orders)
        for period in self.wanted():
            order, orders = asked.get(period), self.draft.all_orders
            if order is None or not may_be_offered_again(order) or is_in_flight(orders, period):
                continue
            if self.as_of > order.late_after:
                self.draft.put(order, failure_reason=TOO_LATE)
            elif stands_in_the_way(orders, period) is None:
                self.draft.put(order, closed_as=None, failure_reason=None)
