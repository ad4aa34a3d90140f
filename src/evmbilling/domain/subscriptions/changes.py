"""Changes of plan, quantity, token or network: what is asked for them, from when they hold, and who may ask.

A change within a period is an order for the difference: what the new terms cost for the rest of the period, less what
was paid for that rest already. Both are the exact share by the second, rounded down. It holds once that order is paid.
When there is nothing to pay it holds at once, and what was paid above stays with the period: no money goes back.
A change for the next period asks nothing now: that period is asked for on the new terms, and they hold once it is paid.
"""

from __future__ import annotations

from datetime import timedelta

import attrs

from evmbilling.domain.catalogue.plan_terms import TermsChange
from evmbilling.domain.journal import order_facts
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.selling.offering import draw_order
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import (
    OPEN_ORDERS,
)
from evmbilling.domain.subscriptions.change_price import difference_lines, period_price
from evmbilling.domain.subscriptions.change_records import ChangePreview, ChangeRequest, ChangeSale
from evmbilling.domain.subscriptions.changeable import (
    check_changeable,
    first_free,
    refuse_in_flight,
    refuse_too_many,
    refused,
    table_of_running,
)
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.periods import PeriodTable
from evmbilling.domain.subscriptions.telling import subscription_facts, terms_facts
from evmbilling.domain.subscriptions.terms import REPLACING, Waiting


def preview_change(draft: SubscriptionDraft, request: ChangeRequest, sale: ChangeSale) -> ChangePreview:
    """Say what a change comes to.

    Raises:
        IllegalTransition: the subscription is over.
        Conflict: not now; ``reason`` says why.
        InputError: nothing would change, or not within a period.

    """
    check_changeable(draft, request, sale)
    table = table_of_running(draft)
    if request.timing == "next_period":
        return _preview_next(draft, request, sale, table)
    running = table.period(table.index_at(draft.now))
    lines = difference_lines(draft, sale, running, table)
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
        next_amount=period_price(sale, table, first),
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
    refuse_too_many(draft)
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
        Conflict: its payment is being confirmed, or what is owed is counted by its interval already.

    """
    draft.fold()
    refuse_in_flight(draft)
    if counts_what_is_due(draft):
        # Periods that fell due would move to other dates, and those that were forgiven to some that nobody has missed.
        raise refused("periods of its interval have begun: what is owed has to be paid first", "debt")
    if withdraw(draft, by=by):
        draft.audit("subscription.withdraw_change", by)


def counts_what_is_due(draft: SubscriptionDraft) -> bool:
    """Whether a period has begun whose length comes from the change that waits."""
    waiting, table = draft.book.waiting, draft.held.table
    if waiting is None or waiting.period is None or table is None:
        return False
    return waiting.terms.after.interval != waiting.terms.before.interval and table.start(waiting.period) <= draft.now


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
        next_amount=period_price(sale, table, first),
        next_asset=asset,
        next_network=network,
    )


def _order(draft: SubscriptionDraft, sale: ChangeSale, preview: ChangePreview) -> Order:
    table = table_of_running(draft)
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
