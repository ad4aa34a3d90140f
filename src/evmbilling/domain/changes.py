"""Changes of plan, quantity, token or network: what is asked for them, from when they hold, and who may ask.

A change within a period is an order for the difference: what the new terms cost for the rest of the period, less what
was paid for that rest already. Both are the exact share by the second, rounded down. It holds once that order is paid.
When there is nothing to pay it holds at once, and what was paid above stays with the period: no money goes back.
A change for the next period asks nothing now: that period is asked for on the new terms, and they hold once it is paid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs
from attrs import field, frozen

from evmbilling.domain.calendar import Period
from evmbilling.domain.events import EventType
from evmbilling.domain.journal import order_facts
from evmbilling.domain.looking import is_in_flight
from evmbilling.domain.money import Asset
from evmbilling.domain.offering import CheckoutRequest, ExtraLines, Offer, draw_order, make_lines, period_lines
from evmbilling.domain.orders import Order, OrderLine, sum_lines
from evmbilling.domain.pausing_times import paused_seconds
from evmbilling.domain.periods import PeriodTable
from evmbilling.domain.plan_terms import ChangeTiming, PlanTerms, TermsChange
from evmbilling.domain.proration import prorate_lines, seconds_between
from evmbilling.domain.states import (
    IN_FLIGHT_ORDERS,
    OPEN_ORDERS,
    OVER_SUBSCRIPTIONS,
    OWING_SUBSCRIPTIONS,
    PAID_ORDERS,
    OrderStatus,
    SubscriptionStatus,
)
from evmbilling.domain.subscription_draft import SubscriptionDraft
from evmbilling.domain.telling import subscription_facts, terms_facts
from evmbilling.domain.terms import REPLACING, Waiting
from evmbilling.errors import Conflict, IllegalTransition, InputError

MOST_A_DAY = 31
"""Changes of one subscription on one day (UTC)."""
SHORTEST = timedelta(minutes=1)
"""What has to be left of a period so that something can still be paid for it."""


@frozen(kw_only=True)
class ChangeRequest:
    """What somebody wants a running subscription to be; None keeps what is.

    Attributes:
        timing: ``now``, within the running period, or ``next_period``.
        plan: a slug: the newest version of that plan, of its own too. A subscription that is not moved keeps its own.
        quantity: pieces.
        network, asset, wallet: how it is paid from the next period on; the wallet also within a period.
        by: who decided.

    """

    subscription_id: str
    timing: ChangeTiming
    plan: str | None = None
    quantity: int | None = None
    network: str | None = None
    asset: str | None = None
    wallet: str | None = None
    by: str


@frozen(kw_only=True)
class ChangeSale:
    """On what terms the new ones are sold.

    Attributes:
        after: the new terms.
        request, offer: how their next period is asked for. Within a period: how the difference is.
        before: where the present plan is sold, for a period that was paid elsewhere.
        refunded: base units that went back of orders, or are about to, by ledger id.
        extra: adds tax and discount lines.
        instance_id: 8 bytes that prefix every reference.

    """

    after: PlanTerms
    request: CheckoutRequest
    offer: Offer
    before: Offer | None = None
    refunded: Mapping[str, int] = field(factory=dict)
    extra: ExtraLines | None = None
    instance_id: bytes


@frozen(kw_only=True)
class ChangePreview:
    """What a change comes to, before anything is written.

    Attributes:
        before, after: the terms.
        starts_at: from when the new ones hold, when they are paid in time.
        pay_now: base units of ``asset`` that have to be paid for it now; 0 for nothing. ``lines`` say why.
        unused: base units that were paid for the rest of the running period, and count against the new terms.
        kept: what of that is more than the new terms cost; it stays with the period, and counts if they go up again.
        next_charge_at, next_amount, next_asset, next_network: the next period that is asked for.

    """

    subscription_id: str
    timing: ChangeTiming
    before: PlanTerms
    after: PlanTerms
    starts_at: datetime
    pay_now: int
    asset: Asset
    network: str
    lines: tuple[OrderLine, ...]
    unused: int
    kept: int
    next_charge_at: datetime
    next_amount: int
    next_asset: Asset
    next_network: str


def preview_change(draft: SubscriptionDraft, request: ChangeRequest, sale: ChangeSale) -> ChangePreview:
    """Say what a change comes to.

    Raises:
        IllegalTransition: the subscription is over.
        Conflict: not now; ``reason`` says why.
        InputError: nothing would change, or not within a period.

    """
    check_changeable(draft, request, sale)
    table = _table(draft)
    if request.timing == "next_period":
        return _preview_next(draft, request, sale, table)
    running = table.period(table.index_at(draft.now))
    lines = _difference(draft, sale, running, table)
    unused = -sum(line.amount for line in lines if line.kind == "credit" or (line.kind == "tax" and line.amount < 0))
    difference = sum(line.amount for line in lines)
    first = draft.held.paid_periods
    return ChangePreview(
        subscription_id=draft.before.subscription_id,
        timing="now",
        before=draft.held.terms,
        after=sale.after,
        starts_at=draft.now,
        pay_now=max(difference, 0),
        asset=sale.offer.price.asset,
        network=sale.offer.network.name,
        lines=lines,
        unused=unused,
        kept=max(-difference, 0),
        next_charge_at=table.start(first),
        next_amount=_price(sale, table, first),
        next_asset=sale.offer.price.asset,
        next_network=sale.offer.network.name,
    )


def change_terms(
    draft: SubscriptionDraft, request: ChangeRequest, sale: ChangeSale
) -> tuple[ChangePreview, Order | None]:
    """Decide a change; return what it comes to and the order that has to be paid for it, not signed yet.

    The same again changes nothing; another one takes the place of one that waits.

    Raises:
        IllegalTransition, Conflict, InputError: as :func:`preview_change`.

    """
    preview = preview_change(draft, request, sale)
    known = _same(draft, request, sale)
    if known is not None:
        return preview, draft.orders.get(known.ledger_id or "")
    _refuse_too_many(draft)
    withdraw(draft, by=request.by)
    basis, before = draft.book.holding(draft.now, draft.held.table)
    change = TermsChange(before=before, after=sale.after, basis=basis, wallet=request.wallet)
    order = _order(draft, sale, preview) if preview.pay_now else None
    if request.timing == "next_period":
        offer = sale.offer
        change = attrs.evolve(
            change,
            network=offer.network.name if request.network or request.asset else None,
            token=offer.price.asset.token if request.network or request.asset else None,
        )
        draft.record("change_next", by=request.by, period=first_free(draft), terms=change)
    else:
        change = attrs.evolve(change, ledger_id=order.ledger_id if order is not None else None)
        draft.record("change_now", by=request.by, terms=change)
    facts = {"timing": request.timing, "ledger_id": change.ledger_id, "starts_at": _starts(request, preview)}
    told = subscription_facts(draft.held) | terms_facts(sale.after, "new_") | facts
    if order is not None:
        draft.put(order)
        draft.journal.publish(EventType.ORDER_OPENED, order_facts(order))
    if order is not None or request.timing == "next_period":
        draft.journal.publish(EventType.CHANGE_SCHEDULED, told)
    draft.fold()
    draft.replace_outdated()
    after = sale.after
    draft.audit(
        "subscription.change",
        request.by,
        timing=request.timing,
        plan=[before.plan_slug, after.plan_slug],
        version=[before.plan_version, after.plan_version],
        quantity=[before.quantity, after.quantity],
        ledger_id=change.ledger_id,
    )
    return preview, order


def withdraw_change(draft: SubscriptionDraft, by: str) -> None:
    """Drop the change that waits; nothing when none does.

    Raises:
        Conflict: its payment is being confirmed.

    """
    draft.fold()
    _refuse_in_flight(draft)
    if withdraw(draft, by=by):
        draft.audit("subscription.withdraw_change", by)


def withdraw(draft: SubscriptionDraft, *, by: str, within_only: bool = False) -> bool:
    """Drop what waits to be paid and say whether there was something; ``within_only`` leaves one for a next period."""
    waiting = draft.book.waiting
    if waiting is None or (within_only and waiting.period is not None):
        return False
    draft.record("withdraw_change", by=by)
    if waiting.ledger_id is not None:
        order = draft.orders[waiting.ledger_id]
        if order.closed_as is None:
            changed = draft.put(order, **REPLACING)
            draft.journal.publish(EventType.ORDER_SUPERSEDED, order_facts(changed))
    draft.fold()
    draft.replace_outdated()
    draft.journal.publish(EventType.CHANGE_WITHDRAWN, subscription_facts(draft.held))
    return True


def first_free(draft: SubscriptionDraft) -> int:
    """Return the first period that is not paid and whose payment is not on its way."""
    period = draft.held.paid_periods
    while period in draft.paid or is_in_flight(draft.all_orders, period):
        period += 1
    return period


def check_changeable(draft: SubscriptionDraft, request: ChangeRequest, sale: ChangeSale) -> None:
    """Refuse what cannot be changed as it stands.

    Raises:
        IllegalTransition, Conflict, InputError: as :func:`preview_change`.

    """
    draft.fold()
    check_running(draft, "changed")
    _refuse_in_flight(draft)
    held = draft.held
    how = (request.network, request.asset, request.wallet)
    if sale.after == held.terms and how == (None, None, None):
        raise InputError("nothing would change", field="plan")
    if request.timing == "next_period":
        first = first_free(draft)
        if any(o.status is OrderStatus.PARTIALLY_PAID and (o.period or 0) >= first for o in draft.all_orders):
            raise _refused("the next period is paid in part; it has to be completed first", "partly_paid")
        return
    if request.network is not None or request.asset is not None:
        named = "network" if request.network is not None else "asset"
        raise InputError("another token or network begins with a period", field=named)
    if sale.after == held.terms:
        raise InputError("nothing would change within the period", field="plan")
    if sale.after.interval != held.terms.interval:
        raise InputError("another interval begins with a period", field="timing")
    table = _table(draft)
    index = table.index_at(draft.now)
    if index < 0:
        raise _refused("its first period has not begun: change it for the next period", "not_begun")
    if table.end(index) - draft.now < SHORTEST:
        raise _refused("the period is about to end: change it for the next period", "period_ends")


def check_running(draft: SubscriptionDraft, done: str) -> None:
    """Refuse a subscription that is over, was never paid, is paused, owes something, or is about to end.

    Raises:
        IllegalTransition: it is over.
        Conflict: any of the others; ``reason`` is ``unpaid``, ``paused``, ``debt`` or ``leaving``.

    """
    held, table = draft.held, draft.held.table
    if held.status in OVER_SUBSCRIPTIONS:
        raise IllegalTransition("this subscription is over", field="subscription_id", before=str(held.status))
    if held.status is SubscriptionStatus.PAUSED:
        raise _refused(f"a paused subscription is not {done}: resume it first", "paused")
    if held.status is SubscriptionStatus.INCOMPLETE or table is None:
        raise _refused("it was never paid: choose another by a checkout", "unpaid")
    if held.status in OWING_SUBSCRIPTIONS or table.index_at(draft.now) >= held.paid_periods:
        raise _refused(f"what is owed has to be paid before it is {done}", "debt")
    if held.cancel_at_period_end:
        raise _refused("it is to end: take that back first", "leaving")


def _refused(text: str, reason: str) -> Conflict:
    return Conflict(text, field="subscription_id", reason=reason)


def _refuse_in_flight(draft: SubscriptionDraft) -> None:
    if any(o.origin == "change" and o.period is None and o.status in IN_FLIGHT_ORDERS for o in draft.all_orders):
        raise _refused("the payment of a change is being confirmed; try again afterwards", "in_flight")


def _refuse_too_many(draft: SubscriptionDraft) -> None:
    """Refuse more changes a day than anybody makes up their mind."""
    today = sum(c.terms is not None and c.recorded_at.date() == draft.now.date() for c in draft.changes)
    if today >= MOST_A_DAY:
        raise _refused("it was changed too often today; try again tomorrow", "too_many_today")


def _same(draft: SubscriptionDraft, request: ChangeRequest, sale: ChangeSale) -> Waiting | None:
    """Return the change that waits, if it is this one and can still be paid."""
    waiting = draft.book.waiting
    if waiting is None or waiting.terms.after != sale.after:
        return None
    order = draft.orders.get(waiting.ledger_id or "")
    if (order is not None) != (request.timing == "now") or waiting.terms.wallet != request.wallet:
        return None
    if order is not None:
        payable = order.status in OPEN_ORDERS and draft.now <= order.deadline
        return waiting if payable else None
    asset = sale.offer.price.asset
    there = (waiting.terms.network or sale.offer.network.name, waiting.terms.token or asset.token)
    named = (waiting.terms.network is not None) == (request.network is not None or request.asset is not None)
    return waiting if named and there == (sale.offer.network.name, asset.token) else None


def _table(draft: SubscriptionDraft) -> PeriodTable:
    table = draft.held.table
    if table is None:
        raise _refused("it was never paid: choose another by a checkout", "unpaid")
    return table


def _preview_next(
    draft: SubscriptionDraft, request: ChangeRequest, sale: ChangeSale, table: PeriodTable
) -> ChangePreview:
    first = first_free(draft)
    asset, network = sale.offer.price.asset, sale.offer.network.name
    table = table.with_interval(sale.after.interval, first)
    return ChangePreview(
        subscription_id=request.subscription_id,
        timing="next_period",
        before=draft.held.terms,
        after=sale.after,
        starts_at=table.start(first),
        pay_now=0,
        asset=asset,
        network=network,
        lines=(),
        unused=0,
        kept=0,
        next_charge_at=table.start(first),
        next_amount=_price(sale, table, first),
        next_asset=asset,
        next_network=network,
    )


def _price(sale: ChangeSale, table: PeriodTable, period: int) -> int:
    lines = make_lines(sale.offer, sale.request.user_id, sale.after.quantity, sale.extra)
    return sum_lines(period_lines(lines, table, period))


def _difference(
    draft: SubscriptionDraft, sale: ChangeSale, running: Period, table: PeriodTable
) -> tuple[OrderLine, ...]:
    """Return the lines of what the new terms cost for the rest of a period, less what was paid for that rest."""
    rest = seconds_between(draft.now, running.end)
    user = sale.request.user_id
    new = period_lines(make_lines(sale.offer, user, sale.after.quantity, sale.extra), table, running.index)
    wanted = _share(new, rest, _length(draft, running.start, running.end))
    tax = back = 0
    for paid in _paid_for(draft, sale, running, table):
        shares = _share(paid.lines, rest, _length(draft, paid.since, running.end))
        own_tax = sum(line.amount for line in shares if line.kind == "tax")
        total = sum(line.amount for line in shares)
        # What went back of an order is not there to count against anything.
        left = max(total - paid.refunded, 0)
        own_tax = own_tax * left // total if total else 0
        tax, back = tax + own_tax, back + left - own_tax
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
        found.append(_PaidFor(lines=period_lines(lines, table, running.index), since=running.start))
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


def _order(draft: SubscriptionDraft, sale: ChangeSale, preview: ChangePreview) -> Order:
    table = _table(draft)
    ends = table.end(table.index_at(draft.now))
    order = draw_order(
        attrs.evolve(sale.request, quantity=sale.after.quantity),
        sale.offer,
        lines=preview.lines,
        instance_id=sale.instance_id,
        ledger_id=draft.new_id(),
        now=draft.now,
        deadline=min(draft.now + timedelta(seconds=sale.offer.gateway.order_ttl), ends),
        subscription=draft.held,
        origin="change",
        due_at=draft.now,
    )
    return attrs.evolve(order, member_until=ends.replace(microsecond=0))


def _starts(request: ChangeRequest, preview: ChangePreview) -> str | None:
    return preview.starts_at.isoformat() if request.timing == "next_period" else None
