"""Which terms hold: a fold over what was decided and what was paid.

A change within a period holds from the moment at which its order was paid; one that costs nothing holds at once. A
change for a next period holds from the beginning of the first period that an order on the new terms paid: whoever pays
an offer gets what it offered. So a payment that disappears takes its change back, and brings it again when it is mined
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen

from evmbilling.domain.calendar import Interval
from evmbilling.domain.looking import REPLACED
from evmbilling.domain.orders import Order
from evmbilling.domain.paying import Paid, paid_moment
from evmbilling.domain.periods import PeriodTable
from evmbilling.domain.plan_terms import PlanTerms, TermsChange, asks_for
from evmbilling.domain.receipts import Receipt
from evmbilling.domain.states import IN_FLIGHT_ORDERS, OPEN_ORDERS, OrderStatus
from evmbilling.domain.subscriptions import Subscription, SubscriptionChange

_PAYABLE = OPEN_ORDERS | IN_FLIGHT_ORDERS | {OrderStatus.REVERSED}


@frozen(kw_only=True)
class Within:
    """A change within a period that holds, from a moment on."""

    seq: int
    terms: TermsChange
    moment: datetime


@frozen(kw_only=True)
class FromPeriod:
    """A change that begins with a period.

    Attributes:
        period: the first one that it is for.
        paid: whether an order on its terms paid that period; else it waits for that.

    """

    seq: int
    terms: TermsChange
    period: int
    paid: bool


@frozen(kw_only=True)
class Waiting:
    """The change that waits to be paid.

    Attributes:
        period: the one that it begins with; None within a period.
        ledger_id: the order that pays it, within a period.

    """

    seq: int
    terms: TermsChange
    period: int | None = None
    ledger_id: str | None = None


@frozen(kw_only=True)
class TermsBook:
    """All changes of a subscription's terms.

    Attributes:
        base: the terms with which it began.
        within: changes within periods that were paid, or cost nothing.
        onward: changes from a period on, paid or waiting.
        waiting: what waits; there is at most one.

    """

    base: PlanTerms
    within: tuple[Within, ...] = ()
    onward: tuple[FromPeriod, ...] = ()
    waiting: Waiting | None = None

    @property
    def changed(self) -> bool:
        """Whether anything is to be said about terms at all."""
        return bool(self.within or self.onward or self.waiting)

    @property
    def intervals(self) -> list[tuple[int, int, Interval]]:
        """The intervals that begin with a period: (period, number of the change, interval)."""
        return [(change.period, change.seq, change.terms.after.interval) for change in self.onward]

    def begins(self, table: PeriodTable | None) -> list[datetime]:
        """Return when paid changes for a period take hold."""
        return [table.start(c.period) for c in self.onward if c.paid] if table is not None else []

    def holding(self, now: datetime, table: PeriodTable | None, *, without: int = 0) -> tuple[int, PlanTerms]:
        """Return the terms that hold at a moment, and the number of the change that brought them.

        Args:
            now: the moment.
            table: the subscription's periods; None while it has none.
            without: a change that is left out.

        """
        return self._walk(c for c in self._events(table) if c[0] <= now and c[1] != without)

    def wanted(self, period: int, table: PeriodTable | None) -> PlanTerms:
        """Return the terms on which a period that is not paid is asked for."""
        late = {c.seq for c in self.onward if c.period > period}
        _, terms = self._walk(c for c in self._events(table) if c[1] not in late)
        waiting = self.waiting
        if waiting is not None and waiting.period is not None and waiting.period <= period:
            return waiting.terms.after
        return terms

    def fits(self, order: Order, table: PeriodTable | None) -> bool:
        """Whether an order asks for its period on the terms on which that is to be asked for."""
        period = order.period
        if period is None:
            return True
        waiting = self.waiting
        if waiting is not None and waiting.period is not None and waiting.period <= period:
            return waiting.terms.asked_by(order)
        return asks_for(order, self.wanted(period, table))

    def _events(self, table: PeriodTable | None) -> list[tuple[datetime, int, TermsChange]]:
        events = [(c.moment, c.seq, c.terms) for c in self.within]
        if table is not None:
            events += [(table.start(c.period), c.seq, c.terms) for c in self.onward if c.paid]
        return sorted(events, key=lambda event: event[:2])

    def _walk(self, events: Iterable[tuple[datetime, int, TermsChange]]) -> tuple[int, PlanTerms]:
        seq, terms = 0, self.base
        for _, number, change in events:
            # What was paid as a difference holds only on top of what it is the difference to.
            if change.ledger_id is None or change.basis == seq:
                seq, terms = number, change.after
        return seq, terms


def terms_book(
    subscription: Subscription,
    orders: Sequence[Order],
    receipts: Sequence[Receipt],
    changes: Sequence[SubscriptionChange],
    paid: Mapping[int, Paid],
) -> TermsBook:
    """Fold the changes of a subscription's terms.

    Args:
        subscription: its stored terms are those with which it began while nothing was ever decided about them.
        orders, receipts, changes: all of it.
        paid: which order paid each period.

    """
    decided = sorted((c for c in changes if c.terms is not None), key=lambda c: c.seq)
    if not decided:
        return TermsBook(base=subscription.terms)
    by_id = {order.ledger_id: order for order in orders}
    forgiven = {o.period: o for o in orders if o.claim == "forgiven" and o.period is not None}
    withdrawn = max((c.seq for c in changes if c.kind == "withdraw_change"), default=0)
    within: list[Within] = []
    onward: list[FromPeriod] = []
    waiting: Waiting | None = None
    for change in decided:
        terms, dropped = _terms(change), change.seq < withdrawn
        if change.kind == "change_next":
            found = _first_period(change, terms, paid, forgiven, dropped=dropped)
            if found is None:
                continue
            onward.append(found)
            if not found.paid:
                waiting = Waiting(seq=change.seq, terms=terms, period=found.period)
            continue
        order = by_id.get(terms.ledger_id or "")
        moment = change.effective_at if terms.ledger_id is None else None
        if order is not None:
            moment = paid_moment(order, receipts)
            offered = order.status in _PAYABLE and (order.closed_as is None or order.status in IN_FLIGHT_ORDERS)
            if moment is None and offered:
                waiting = Waiting(seq=change.seq, terms=terms, ledger_id=order.ledger_id)
        if moment is not None:
            within.append(Within(seq=change.seq, terms=terms, moment=moment))
    return TermsBook(base=_terms(decided[0]).before, within=tuple(within), onward=tuple(onward), waiting=waiting)


def outdated(orders: Iterable[Order], book: TermsBook, table: PeriodTable | None) -> list[Order]:
    """Return the offers for periods that are on other terms than those that are wanted."""
    return [o for o in orders if o.status in OPEN_ORDERS and o.closed_as is None and not book.fits(o, table)]


REPLACING: dict[str, Any] = {
    "closed_as": OrderStatus.SUPERSEDED,
    "failure_reason": REPLACED,
    "claim": None,
    "retry_at": None,
}
"""What an order becomes that another one for its period stands in for."""


def plan_keys(changes: Iterable[SubscriptionChange]) -> set[tuple[str, int]]:
    """Return the plan versions that changes lead from and to."""
    return {key for c in changes if c.terms is not None for key in (c.terms.before.key, c.terms.after.key)}


def _terms(change: SubscriptionChange) -> TermsChange:
    if change.terms is None:  # pragma: no cover - only changes with terms are asked
        raise AssertionError(change.kind)
    return change.terms


def _first_period(
    change: SubscriptionChange,
    terms: TermsChange,
    paid: Mapping[int, Paid],
    forgiven: Mapping[int, Order],
    *,
    dropped: bool,
) -> FromPeriod | None:
    """Return the first period that is for a change: paid on its terms, or not paid at all unless it was dropped.

    Periods that were asked for on its terms and given up are its own: their dates stay what they were.
    """
    first = change.period or 0
    fitting = min((n for n, by in paid.items() if n >= first and terms.asked_by(by.order)), default=None)
    given_up = [n for n, order in forgiven.items() if n >= first and terms.asked_by(order)]
    free = first
    while free in paid or free in forgiven:
        free += 1
    if fitting is not None and (dropped or fitting <= free):
        return FromPeriod(seq=change.seq, terms=terms, period=min([fitting, *given_up]), paid=True)
    if dropped:
        return None
    return FromPeriod(seq=change.seq, terms=terms, period=min([free, *given_up]), paid=False)
