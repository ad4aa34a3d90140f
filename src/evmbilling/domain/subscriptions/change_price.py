"""What a change costs: the difference of two terms for the rest of a period."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from fractions import Fraction

import attrs
from attrs import frozen

from evmbilling.domain.selling.offering import make_lines, period_lines
from evmbilling.domain.selling.orders import OrderLine, sum_lines
from evmbilling.domain.states import (
    PAID_ORDERS,
)
from evmbilling.domain.subscriptions.calendar import Period
from evmbilling.domain.subscriptions.change_records import ChangeSale
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.pausing_times import paused_seconds
from evmbilling.domain.subscriptions.periods import PeriodTable
from evmbilling.domain.subscriptions.proration import prorate_lines, seconds_between


def difference_lines(
    draft: SubscriptionDraft, sale: ChangeSale, running: Period, table: PeriodTable
) -> tuple[OrderLine, ...]:
    """Return the lines of what the new terms cost for the rest of a period, less what was paid for that rest.

    Each share is rounded down. Less than a whole base unit between the exact ones is not asked for.
    """
    rest = seconds_between(draft.now, running.end)
    user = sale.request.user_id
    paused = paused_seconds(draft.changes, running.start, running.end)
    lines = make_lines(sale.offer, user, sale.after.quantity, sale.extra)
    new = period_lines(lines, table, running.index, paused=paused)
    length = _length(draft, running.start, running.end)
    wanted = _share(new, rest, length)
    exact = _exact(new, rest, length)
    tax = back = 0
    for paid in _paid_for(draft, sale, running, table):
        length = _length(draft, paid.since, running.end)
        shares = _share(paid.lines, rest, length)
        exact -= max(_exact(paid.lines, rest, length) - paid.refunded, Fraction(0))
        own_tax = sum(line.amount for line in shares if line.kind == "tax")
        total = sum(line.amount for line in shares)
        # What went back of an order is not there to count against anything.
        left = max(total - paid.refunded, 0)
        own_tax = own_tax * left // total if total else 0
        tax, back = tax + own_tax, back + left - own_tax
    asked = sum(line.amount for line in wanted) - tax - back
    if exact < 1:
        # What remains was lost by rounding what was paid: going down and up again is not a unit dearer each time.
        back += max(asked, 0)
    unused = [OrderLine(kind="credit", text=f"Unused time of {draft.plan.name}", amount=-back)] if back else []
    if tax:
        unused.append(OrderLine(kind="tax", text="Tax of unused time", amount=-tax))
    return (*wanted, *unused)


@frozen(kw_only=True)
class _PaidFor:
    """Lines that were paid for a period, from an instant on; and what of them went back."""

    lines: Sequence[OrderLine]
    since: datetime
    refunded: int = 0


def _paid_for(draft: SubscriptionDraft, sale: ChangeSale, running: Period, table: PeriodTable) -> list[_PaidFor]:
    """Return what was paid for a period."""
    found: list[_PaidFor] = []
    back = sale.refunded
    payer = draft.payers.get(running.index)
    if payer is not None:
        order = payer.order
        found.append(_PaidFor(lines=order.lines, since=running.start, refunded=back.get(order.ledger_id, 0)))
    elif sale.before is not None:
        # Paid elsewhere, as the import said: at the plan's price.
        lines = make_lines(sale.before, sale.request.user_id, draft.held.quantity, sale.extra)
        paused = paused_seconds(draft.changes, running.start, running.end)
        found.append(_PaidFor(lines=period_lines(lines, table, running.index, paused=paused), since=running.start))
    for order in draft.all_orders:
        within = order.origin == "change" and order.period is None and order.status in PAID_ORDERS
        if within and order.due_at is not None and running.start <= order.due_at < running.end:
            found.append(_PaidFor(lines=order.lines, since=order.due_at, refunded=back.get(order.ledger_id, 0)))
    return found


def _length(draft: SubscriptionDraft, start: datetime, end: datetime) -> int:
    """Return the seconds that are paid for between two instants: those that were not paused."""
    return seconds_between(start, end) - paused_seconds(draft.changes, start, end)


def _share(lines: Sequence[OrderLine], rest: int, length: int) -> tuple[OrderLine, ...]:
    amounts = prorate_lines([line.amount for line in lines], min(rest, length), length)
    return tuple(attrs.evolve(line, amount=amount) for line, amount in zip(lines, amounts, strict=True))


def _exact(lines: Sequence[OrderLine], rest: int, length: int) -> Fraction:
    return Fraction(sum(line.amount for line in lines) * min(rest, length), length)


def period_price(sale: ChangeSale, table: PeriodTable, period: int) -> int:
    """Return what a period costs on the new terms, in base units."""
    lines = make_lines(sale.offer, sale.request.user_id, sale.after.quantity, sale.extra)
    return sum_lines(period_lines(lines, table, period))
