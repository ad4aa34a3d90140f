"""Monthly recurring revenue: how a customer's events move it.

A subscription counts while it is active or past due, with the recurring price of the newest period that was paid, per
month: a day counts 365/12 times, a week 52/12 times, of several months or years a part; exact fractions. Trials,
paused, suspended and incomplete subscriptions do not count, and nothing on a test network does. Terms that change
within a period change the price at once, in the asset in which that period was paid.

The rule reads one event after the other and keeps what it knows in :class:`CustomerFigures`. So it does not matter in
how many portions a journal is read, and reading it again from its beginning gives the same movements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction

import attrs
from attrs import field, frozen

from evmbilling.domain.books.movements import NO_ASSET, STATUS_PREFIX, Move, Series
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import Interval

READ_EVENTS = (
    EventType.PAYMENT_CONFIRMED,
    EventType.PAYMENT_REVERSED,
    EventType.SUBSCRIPTION_MOVED,
    EventType.SUBSCRIPTION_CHANGED,
)
"""What is read of a customer's journal."""
PAYING = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE})
KEPT = 12
"""Paid orders, reversals and movements of a subscription that are remembered: what a reorganisation may take back."""
NO_PERIOD = -1
"""Of an order that pays for other terms within a period that is paid already."""
_MONTHS = 12
_PER_YEAR: Mapping[str, int] = {"day": 365, "week": 52, "month": 12, "year": 1}


@frozen(kw_only=True)
class Price:
    """What a paid order says about the price per month.

    Attributes:
        amount, per: base units a month, as a fraction in lowest terms.
        counts: whether its network is no test network.

    """

    ledger_id: str
    period: int
    asset: Asset
    amount: int
    per: int
    counts: bool

    @property
    def value(self) -> tuple[int, str, int, int]:
        """What is compared: which asset, and how much of it a month."""
        return (self.asset.chain_id, self.asset.token, self.amount, self.per)


@frozen(kw_only=True)
class Step:
    """A movement that may have to be taken back: what led to it, from where to where, and when."""

    cause: str
    before: Price | None
    after: Price | None
    occurred_at: datetime
    had_paid: bool


@frozen(kw_only=True)
class SubscriptionFigures:
    """What the events so far say about a subscription.

    Attributes:
        paid: prices of paid periods, the newest last. last: the newest price that was ever known.
        held: the price that counts now. had_paid: whether one ever counted.
        reversed_: orders whose payment is gone. reversed_at: when the last of those was recorded.
        bought, bought_at: the last order that paid for other terms within a period, and when that was recorded.
        steps: the last movements. told: the status in which it is counted.

    """

    status: str = ""
    paid: tuple[Price, ...] = ()
    last: Price | None = None
    held: Price | None = None
    had_paid: bool = False
    reversed_: tuple[str, ...] = ()
    reversed_at: datetime | None = None
    bought: str = ""
    bought_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    told: str | None = None


CustomerFigures = Mapping[str, SubscriptionFigures]
"""A customer's subscriptions, by id."""
PriceOf = Callable[[str], Price | None]
"""Gives the price that an order names; None when it is of no subscription."""
TermsPrice = Callable[[str, int, int, Asset], Fraction | None]
"""Gives what (plan, version, quantity) costs a month in an asset; None when the plan has no price in it."""


def monthly(amount: int, interval: Interval) -> Fraction:
    """Return what an amount for each interval comes to in a month; 0 for what does not recur."""
    if not interval.recurs:
        return Fraction(0)
    return Fraction(amount * _PER_YEAR[interval.unit], _MONTHS * interval.count)


def recurring_price(order: Order, interval: Interval, unit_price: int | None, *, counts: bool) -> Price:
    """Return the price per month behind an order.

    It is what the order asks for the plan and its pieces, less discounts; taxes, credits and parts of a period are not.
    An order for a change within a period asks for a part only, so there the plan's own price counts.

    Args:
        order: that was paid.
        interval: of its plan.
        unit_price: the plan's price in the order's asset; None when the plan does not name it.
        counts: whether its network is no test network.

    """
    if order.origin == "change" and unit_price is not None:
        price = unit_price * order.quantity
    else:
        price = sum(line.amount for line in order.lines if line.kind in {"plan", "quantity", "discount"})
    month = monthly(max(price, 0), interval)
    return Price(
        ledger_id=order.ledger_id,
        period=NO_PERIOD if order.period is None else order.period,
        asset=order.asset,
        amount=month.numerator,
        per=month.denominator,
        counts=counts,
    )


def follow(
    figures: CustomerFigures, event: Event, price_of: PriceOf, terms_price: TermsPrice
) -> tuple[CustomerFigures, tuple[Move, ...]]:
    """Return what is known after an event, and what it moves."""
    name = event.data.get("subscription_id")
    if event.type not in READ_EVENTS or not isinstance(name, str):
        return figures, ()
    before = figures.get(name) or SubscriptionFigures()
    heard = _hear(before, event, price_of, terms_price)
    after, moved, at = _step(heard, event)
    after, told = _tell_status(after)
    later = {**figures, name: after}
    writer = _Writer(event=event, subject=name, at=at)
    writer.prices(moved)
    writer.people(figures, later)
    writer.at = event.occurred_at
    writer.statuses(told)
    return later, tuple(writer.moves)


def _hear(known: SubscriptionFigures, event: Event, price_of: PriceOf, terms_price: TermsPrice) -> SubscriptionFigures:
    """Take in what an event says."""
    if event.type == EventType.SUBSCRIPTION_MOVED:
        return attrs.evolve(known, status=str(event.data["after"]))
    if event.type == EventType.SUBSCRIPTION_CHANGED:
        return _on_other_terms(known, event, terms_price)
    ledger_id = str(event.data["ledger_id"])
    others = tuple(price for price in known.paid if price.ledger_id != ledger_id)
    gone = tuple(name for name in known.reversed_ if name != ledger_id)
    if event.type == EventType.PAYMENT_REVERSED:
        gone = (*gone, ledger_id)[-KEPT:]
        return attrs.evolve(known, paid=others, reversed_=gone, reversed_at=event.recorded_at)
    price = price_of(ledger_id)
    if price is None:
        return known
    if price.period == NO_PERIOD:
        return attrs.evolve(known, reversed_=gone, bought=ledger_id, bought_at=event.recorded_at)
    paid = tuple(sorted((*others, price), key=lambda p: (p.period, p.ledger_id)))[-KEPT:]
    return attrs.evolve(known, paid=paid, last=paid[-1], reversed_=gone)


def _on_other_terms(known: SubscriptionFigures, event: Event, terms_price: TermsPrice) -> SubscriptionFigures:
    """Let the period that is paid cost what the new terms cost, in the asset in which it was paid."""
    if not known.paid:
        return known
    newest = known.paid[-1]
    data = event.data
    month = terms_price(str(data["new_plan"]), int(data["new_version"]), int(data["new_quantity"]), newest.asset)
    if month is None:
        return known
    changed = attrs.evolve(newest, amount=month.numerator, per=month.denominator)
    return attrs.evolve(known, paid=(*known.paid[:-1], changed), last=changed)


def _step(
    known: SubscriptionFigures, event: Event
) -> tuple[SubscriptionFigures, list[tuple[str, Price, int]], datetime]:
    """Bring the price that counts up to date; return what moves: (series, price, sign), and when."""
    top = known.paid[-1] if known.paid else known.last
    target = top if top is not None and top.counts and known.status in PAYING else None
    held = known.held
    if _value(held) == _value(target):
        return attrs.evolve(known, held=target), [], event.occurred_at
    last = known.steps[-1] if known.steps else None
    if last is not None and _undoes(known, last, target, event):
        back = [
            (series, price, -sign) for series, price, sign in _kinds(last.before, last.after, had_paid=last.had_paid)
        ]
        undone = attrs.evolve(known, held=target, steps=known.steps[:-1], had_paid=last.had_paid)
        return undone, back, last.occurred_at
    cause = target or held or top
    is_bought = event.type == EventType.SUBSCRIPTION_CHANGED and known.bought_at == event.recorded_at
    step = Step(
        cause=known.bought if is_bought else cause.ledger_id if cause is not None else "",
        before=held,
        after=target,
        occurred_at=event.occurred_at,
        had_paid=known.had_paid,
    )
    steps = (*known.steps, step)[-KEPT:]
    moved = _kinds(held, target, had_paid=known.had_paid)
    done = attrs.evolve(known, held=target, steps=steps, had_paid=known.had_paid or target is not None)
    return done, moved, event.occurred_at


def _undoes(known: SubscriptionFigures, last: Step, target: Price | None, event: Event) -> bool:
    """Whether a change only takes the last movement back, because the payment that led to it is gone."""
    at_once = known.reversed_at == event.recorded_at or known.status == SubscriptionStatus.INCOMPLETE
    same = _value(last.before) == _value(target) and _value(last.after) == _value(known.held)
    return at_once and same and last.after is not None and last.cause in known.reversed_


def _kinds(before: Price | None, after: Price | None, *, had_paid: bool) -> list[tuple[str, Price, int]]:
    """Name what leads from one price to another: (series, by how much a month, 1 for more and -1 for less).

    Amounts of contraction and churn are positive: MRR goes down by them. A subscription that pays in another asset
    from now on contracts in the one and expands in the other.
    """
    if after is None:
        return [(Series.MRR_CHURN, before, 1)] if before is not None else []
    if before is None:
        return [(Series.MRR_REACTIVATION if had_paid else Series.MRR_NEW, after, 1)]
    if before.value[:2] != after.value[:2]:
        return [(Series.MRR_CONTRACTION, before, 1), (Series.MRR_EXPANSION, after, 1)]
    change = Fraction(after.amount, after.per) - Fraction(before.amount, before.per)
    size = attrs.evolve(after, amount=abs(change.numerator), per=change.denominator)
    return [(Series.MRR_EXPANSION if change > 0 else Series.MRR_CONTRACTION, size, 1)]


def _value(price: Price | None) -> tuple[int, str, int, int] | None:
    return None if price is None else price.value


def _tell_status(known: SubscriptionFigures) -> tuple[SubscriptionFigures, list[tuple[str, int]]]:
    """Count the subscription in its status; one that is paid on a test network is counted nowhere."""
    status = None if known.last is not None and not known.last.counts else known.status or None
    if status == known.told:
        return known, []
    told = [(known.told, -1)] if known.told is not None else []
    told += [(status, 1)] if status is not None else []
    return attrs.evolve(known, told=status), told


def _assets_of(figures: CustomerFigures) -> Mapping[tuple[int, str], Asset]:
    held = (known.held for known in figures.values())
    return {price.value[:2]: price.asset for price in held if price is not None}


@attrs.define(kw_only=True)
class _Writer:
    """Writes the movements of one event."""

    event: Event
    subject: str
    at: datetime
    moves: list[Move] = field(factory=list)

    def prices(self, moved: Sequence[tuple[str, Price, int]]) -> None:
        for series, price, sign in moved:
            self._add(series, price.asset, per=price.per, amount=sign * price.amount, items=sign)

    def people(self, before: CustomerFigures, after: CustomerFigures) -> None:
        had, has = _assets_of(before), _assets_of(after)
        for key in sorted(had.keys() ^ has.keys()):
            self._add(Series.PAYERS, (has.get(key) or had[key]), items=1 if key in has else -1)
        if bool(had) != bool(has):
            self._add(Series.CUSTOMERS, NO_ASSET, items=1 if has else -1)

    def statuses(self, told: Sequence[tuple[str, int]]) -> None:
        for status, items in told:
            self._add(STATUS_PREFIX + status, NO_ASSET, items=items)

    def _add(self, series: str, asset: Asset, *, per: int = 1, amount: int = 0, items: int = 0) -> None:
        self.moves.append(
            Move(
                source=f"event:{self.event.event_id}",
                seq=len(self.moves),
                series=series,
                asset=asset,
                per=per,
                amount=amount,
                items=items,
                occurred_at=self.at,
                recorded_at=self.event.recorded_at,
                subject=self.subject,
            )
        )
