"""Releasing revenue: what a customer paid ahead is earned by time passing.

An order's price is earned over the period that it pays, per second, and posted at every first of a month (UTC) inside
the period and at its end. What is due is computed from what is still deferred, under the customer's lock: running it
every hour or once after a year ends in the same entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import attrs
from attrs import frozen

from evmbilling.domain.books.bookkeeping import Clerk, tax_of
from evmbilling.domain.books.ledger import Account, Balance, earned_by, order_owner
from evmbilling.domain.books.postings import book_release
from evmbilling.domain.decisions import PostEntry
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import Period
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.context import Ports, Runner
from evmbilling.ports.storage import Unit

PAGE = 500


@frozen(kw_only=True)
class ReleaseReport:
    """What one call released: how many orders, in how many entries, and how many were left because they are held."""

    orders: int = 0
    entries: int = 0
    left: int = 0


def release_revenue(ports: Ports, runner: Runner, *, limit: int) -> ReleaseReport:
    """Release what is due of up to ``limit`` orders; see :meth:`evmbilling.engine.core.Engine.release_revenue`."""
    total = ReleaseReport()
    after = ""
    while total.orders < limit:
        seen, due = runner.read(partial(_due_orders, ports, after))
        if due:
            report = runner.write(partial(_release, ports, due[: limit - total.orders]))
            total = ReleaseReport(
                orders=total.orders + report.orders,
                entries=total.entries + report.entries,
                left=total.left + report.left,
            )
        if not seen:
            break
        after = seen
    return total


def month_starts(start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield the first instants of the months (UTC) strictly between two instants."""
    year, month = start.year, start.month
    while True:
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)  # noqa: PLR2004  - December
        first = datetime(year, month, 1, tzinfo=UTC)
        if first >= end:
            return
        yield first


def due_releases(order: Order, paid: Period, deferred: Balance, now: datetime) -> tuple[tuple[datetime, int], ...]:
    """Return what of an order is to be released: instants up to ``now``, each with what was earned since the last.

    Nothing is earned before the order was complete: months that had passed by then fall into the next instant.
    """
    price = order.amount - tax_of(order)
    released = price - deferred.net_credit
    complete = order.completion.confirmed_at if order.completion else paid.start
    instants = [at for at in month_starts(paid.start, paid.end) if complete <= at <= now]
    last = max(paid.end, complete)
    due: list[tuple[datetime, int]] = []
    for at in [*instants, *([last] if last <= now else [])]:
        earned = earned_by(price, paid.start, paid.end, at)
        if earned > released:
            due.append((at, earned - released))
            released = earned
    return tuple(due)


def _due_orders(ports: Ports, after: str, unit: Unit) -> tuple[str, tuple[Order, ...]]:
    """Return where a page of orders ended, and those of them that have something due."""
    page = unit.deferred_orders(after=after, limit=PAGE)
    due = _plan(unit, page, ports.clock.now())
    return page[-1].ledger_id if page else "", tuple(order for order in page if order.ledger_id in due)


def _plan(
    unit: Unit, orders: Sequence[Order], now: datetime
) -> Mapping[str, tuple[Balance, tuple[tuple[datetime, int], ...]]]:
    """Return, by ledger id, what is deferred of an order and what of it is due."""
    subscriptions = unit.subscriptions({o.subscription_id for o in orders if o.subscription_id})
    rows = unit.balances([order_owner(o.ledger_id) for o in orders]) if orders else ()
    held = {b.owner: b for b in rows if b.account is Account.DEFERRED_REVENUE}
    plan: dict[str, tuple[Balance, tuple[tuple[datetime, int], ...]]] = {}
    for order in orders:
        paid = paid_period(order, subscriptions.get(order.subscription_id or ""))
        deferred = held.get(order_owner(order.ledger_id))
        due = due_releases(order, paid, deferred, now) if paid is not None and deferred is not None else ()
        if due and deferred is not None:
            plan[order.ledger_id] = (deferred, due)
    return plan


def paid_period(order: Order, subscription: Subscription | None) -> Period | None:
    """Return the period that an order pays; None while the subscription has no anchor, or is paused.

    The order of a change pays the rest of the period in which it was made.
    """
    table = subscription.table if subscription is not None else None
    if table is None or subscription is None or subscription.status is SubscriptionStatus.PAUSED:
        return None
    if order.period is not None:
        return table.period(order.period)
    if order.origin != "change" or order.due_at is None:
        return None
    index = max(table.index_at(order.due_at), 0)
    return Period(index, order.due_at, table.end(index))


def _release(ports: Ports, orders: Sequence[Order], unit: Unit) -> ReleaseReport:
    locked = unit.lock_customers({o.user_id for o in orders}, skip_locked=True)
    # Read again under the lock: a payment may have been taken back in between.
    fresh = [o for o in (unit.order(o.ledger_id) for o in orders if o.user_id in locked) if o is not None]
    clerk = Clerk(now=ports.clock.now(), new_id=ports.ids.new_id)
    plan = _plan(unit, fresh, clerk.now)
    posted: list[PostEntry] = []
    for order in fresh:
        if order.ledger_id not in plan:
            continue
        held, due = plan[order.ledger_id]
        for until, amount in due:
            posted += book_release(order, held, amount=amount, until=until, clerk=clerk)
            held = attrs.evolve(held, debit=held.debit + amount)
    unit.apply(posted)
    return ReleaseReport(orders=len(plan), entries=len(posted), left=len(orders) - len(fresh))
