"""Which terms hold: a fold over what was decided and what was paid.

A change within a period holds from the moment at which its order was paid; one that costs nothing holds at once. A
change for a next period holds from the beginning of the first period that an order on the new terms paid: whoever pays
an offer gets what it offered. So a payment that disappears takes its change back, and brings it again when it is mined
again.

A period that is paid has the terms that it was paid on. A change within the period before it ends where that begins,
unless it was paid on the same terms: else a difference for five minutes would buy months that were paid ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen

from evmbilling.domain.catalogue.plan_terms import PlanTerms, TermsChange, asks_for
from evmbilling.domain.payments.paying import Paid, comes_too_late, paid_moment
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import IN_FLIGHT_ORDERS, OPEN_ORDERS, PAYABLE_ORDERS, OrderStatus
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.domain.subscriptions.looking import REPLACED
from evmbilling.domain.subscriptions.periods import PeriodTable
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange

_PAYABLE = PAYABLE_ORDERS | IN_FLIGHT_ORDERS


@frozen(kw_only=True)
class Within:
    """A change within a period that holds, from a moment on.

    Attributes:
        offered: when its difference was asked for; None where it cost nothing. It is the difference for the rest of
            that period: paid later than that, it bought nothing.

    """

    seq: int
    terms: TermsChange
    moment: datetime
    offered: datetime | None = None


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
class PeriodTerms:
    """What a paid period was paid for: a plan version and how many pieces of it."""

    period: int
    key: tuple[str, int]
    quantity: int

    def agrees(self, terms: PlanTerms) -> bool:
        """Whether these are the same; how often it is paid is said by the calendar."""
        return (self.key, self.quantity) == (terms.key, terms.quantity)


@frozen(kw_only=True)
class _Event:
    """A moment from which other terms may hold; ``rank`` orders those of one moment."""

    moment: datetime
    rank: int
    seq: int
    what: TermsChange | PlanTerms


@frozen(kw_only=True)
class _State:
    """What holds after an event, and what was agreed for periods that nobody has paid."""

    moment: datetime | None = None
    seq: int = 0
    terms: PlanTerms
    agreed: PlanTerms


@frozen(kw_only=True)
class TermsBook:
    """All changes of a subscription's terms.

    Attributes:
        base: the terms with which it began.
        within: changes within periods that were paid, or cost nothing.
        onward: changes from a period on, paid or waiting.
        waiting: what waits; there is at most one.
        paid: what the paid periods were paid for, here or elsewhere.

    """

    base: PlanTerms
    within: tuple[Within, ...] = ()
    onward: tuple[FromPeriod, ...] = ()
    waiting: Waiting | None = None
    paid: tuple[PeriodTerms, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything is to be said about terms at all."""
        return bool(self.within or self.onward or self.waiting)

    @property
    def intervals(self) -> list[tuple[int, int, Interval]]:
        """The intervals that begin with a period: (period, number of the change, interval)."""
        return [(change.period, change.seq, change.terms.after.interval) for change in self.onward]

    def begins(self, table: PeriodTable | None) -> list[datetime]:
        """Return when terms take hold that a period was paid on."""
        if table is None:
            return []
        states = self._states(self._events(table))
        resumed = [s.moment for s in states if s.seq < 0 and s.moment is not None]
        return [*(table.start(c.period) for c in self.onward if c.paid), *resumed]

    def holding(self, now: datetime, table: PeriodTable | None, *, without: int = 0) -> tuple[int, PlanTerms]:
        """Return the terms that hold at a moment, and the number of the change that brought them.

        The number is negative when they are those that a period was paid on, other than what held before it.

        Args:
            now: the moment.
            table: the subscription's periods; None while it has none.
            without: a change that is left out.

        """
        events = [e for e in self._events(table) if e.moment <= now and e.seq != without]
        state = self._states(events)[-1]
        return state.seq, state.terms

    def wanted(self, period: int, table: PeriodTable | None) -> PlanTerms:
        """Return the terms on which a period that is not paid is asked for."""
        waiting = self.waiting
        if waiting is not None and waiting.period is not None and waiting.period <= period:
            return waiting.terms.after
        return self.agreed(period, table)

    def agreed(self, period: int, table: PeriodTable | None) -> PlanTerms:
        """Return the terms for a period that is not paid, but for a change that waits."""
        late = {c.seq for c in self.onward if c.period > period}
        return self._states([e for e in self._events(table) if e.seq not in late])[-1].agreed

    def fits(self, order: Order, table: PeriodTable | None) -> bool:
        """Whether an order asks for its period on the terms on which that is to be asked for."""
        period = order.period
        if period is None:
            return True
        waiting = self.waiting
        if waiting is not None and waiting.period is not None and waiting.period <= period:
            return waiting.terms.asked_by(order)
        return asks_for(order, self.wanted(period, table))

    def _events(self, table: PeriodTable | None) -> list[_Event]:
        within = [c for c in self.within if not comes_too_late(c.offered, c.moment, table)]
        events = [_Event(moment=c.moment, rank=2, seq=c.seq, what=c.terms) for c in within]
        if table is not None:
            events += [
                _Event(moment=table.start(c.period), rank=0, seq=c.seq, what=c.terms) for c in self.onward if c.paid
            ]
            events += [
                _Event(moment=table.start(p.period), rank=1, seq=-1 - p.period, what=_of(p, table)) for p in self.paid
            ]
        return sorted(events, key=lambda e: (e.moment, e.rank, abs(e.seq)))

    def _states(self, events: Iterable[_Event]) -> list[_State]:
        """Return what held one after the other; what does not take hold is left out."""
        states = [_State(terms=self.base, agreed=self.base)]
        for event in events:
            last, what = states[-1], event.what
            if isinstance(what, PlanTerms):
                # A number of its own: what was offered as a difference to other terms does not hold on top of these.
                if (what.key, what.quantity) != (last.terms.key, last.terms.quantity):
                    states.append(_State(moment=event.moment, seq=event.seq, terms=what, agreed=last.agreed))
            # What was paid as a difference holds only on top of what it is the difference to.
            elif what.ledger_id is None or what.basis == last.seq:
                states.append(_State(moment=event.moment, seq=event.seq, terms=what.after, agreed=what.after))
        return states


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
            asked_at = order.due_at if order is not None else None
            within.append(Within(seq=change.seq, terms=terms, moment=moment, offered=asked_at))
    base = _terms(decided[0]).before
    return TermsBook(
        base=base,
        within=tuple(within),
        onward=tuple(onward),
        waiting=waiting,
        paid=paid_terms(base, changes, paid),
    )


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


def paid_terms(
    base: PlanTerms, changes: Sequence[SubscriptionChange], paid: Mapping[int, Paid]
) -> tuple[PeriodTerms, ...]:
    """Return what periods were paid for: by their orders, or elsewhere on the terms with which it was taken over."""
    elsewhere = next((c.adoption.periods for c in changes if c.adoption is not None), 0)
    found = {n: PeriodTerms(period=n, key=base.key, quantity=base.quantity) for n in range(elsewhere)}
    for period, by in paid.items():
        order = by.order
        key = order.plan_slug, order.plan_version
        found[period] = PeriodTerms(period=period, key=key, quantity=order.quantity)
    return tuple(found[period] for period in sorted(found))


def _of(paid: PeriodTerms, table: PeriodTable) -> PlanTerms:
    return PlanTerms(
        plan_slug=paid.key[0],
        plan_version=paid.key[1],
        quantity=paid.quantity,
        interval=table.segment(paid.period).interval,
    )


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
