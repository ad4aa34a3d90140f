"""Standing: where orders and subscriptions are, folded from facts.

A reorg, a late payment and a rebuild are the same code: remove or add the fact, and recompute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.payments.allocation import ELSEWHERE
from evmbilling.domain.payments.paying import completing_receipt, of_order, payers
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.orders import Completion, Order
from evmbilling.domain.states import (
    OPEN_ORDERS,
    ORDER_MOVES,
    OVER_SUBSCRIPTIONS,
    PAID_ORDERS,
    SUBSCRIPTION_MOVES,
    SUPPORTING_RECEIPTS,
    OrderStatus,
    ReceiptStatus,
    SubscriptionStatus,
    check_move,
    check_reachable,
)
from evmbilling.domain.subscriptions.dunning import NO_DUNNING, DunningPolicy, dunning, failed_attempts
from evmbilling.domain.subscriptions.looking import Turns, next_look
from evmbilling.domain.subscriptions.paid_calendar import paid_calendar
from evmbilling.domain.subscriptions.pausing_times import open_pause, running_moment
from evmbilling.domain.subscriptions.periods import PeriodTable
from evmbilling.domain.subscriptions.subscriptions import Debt, Subscription, SubscriptionChange
from evmbilling.domain.subscriptions.terms import TermsBook, terms_book

_LADDER = (OrderStatus.CONFIRMING, OrderStatus.CONFIRMED, OrderStatus.FINAL)
_WITHDRAWN = (OrderStatus.CANCELLED, OrderStatus.SUPERSEDED, OrderStatus.FAILED)
_ON_ITS_WAY = frozenset({OrderStatus.SUBMITTED, OrderStatus.UNKNOWN, OrderStatus.CONFIRMING})
_PULLED = {"submitted": OrderStatus.SUBMITTED, "unknown": OrderStatus.UNKNOWN, "failed": OrderStatus.FAILED}


@frozen(kw_only=True)
class Standing:
    """What the facts of a subscription come to.

    Attributes:
        subscription: with everything that follows from the facts put anew; its version is as stored.
        debts: what is owed, the oldest first; stored on the orders that ask for it.

    """

    subscription: Subscription
    debts: tuple[Debt, ...] = ()


def missing_of(order: Order, receipts: Iterable[Receipt]) -> int:
    """Return how many base units of a complete order were never paid: what its tolerance let pass, and is owed."""
    if order.status not in PAID_ORDERS or order.manual is not None:
        return 0
    return max(order.amount - _supported(order, receipts), 0)


def order_standing(order: Order, receipts: Iterable[Receipt]) -> Order:
    """Return the order as its receipts leave it; its version is as stored.

    Raises:
        IllegalTransition: the move is not in ``ORDER_MOVES``.

    """
    known = list(receipts)
    order = _without_pull(order, known)
    status, completion = _fold_order(order, known)
    return attrs.evolve(order, status=status, completion=completion)


def next_order(order: Order, receipts: Iterable[Receipt]) -> Order:
    """Return the order as its receipts leave it, under the next version; the same one when that changes nothing.

    Raises:
        IllegalTransition: the move is not in ``ORDER_MOVES``.

    """
    after = order_standing(order, receipts)
    return order if after == order else attrs.evolve(after, version=order.version + 1)


def _without_pull(order: Order, receipts: Sequence[Receipt]) -> Order:
    """Return an order whose charge has come to its end, though its money counts for something else.

    What it took is the customer's credit, or went back. Were the order still on its way, everything that waits for
    that would wait for ever: the charges of later periods, and the end of who leaves.
    """
    if order.status not in _ON_ITS_WAY or order.pull not in {"submitted", "unknown"} or order.attempted_at is None:
        return order
    there = [r for r in receipts if r.ledger_id == order.ledger_id and r.status in SUPPORTING_RECEIPTS]
    taken = sum(r.amount for r in there if r.allocation == "order")
    elsewhere = [r for r in there if r.allocation in ELSEWHERE and r.first_seen_at >= order.attempted_at]
    if taken >= order.enough or not elsewhere or taken + sum(r.amount for r in elsewhere) < order.enough:
        return order
    reason = order.failure_reason if order.closed_as is not None else elsewhere[-1].reason
    return attrs.evolve(order, pull=None, closed_as=order.closed_as or OrderStatus.CANCELLED, failure_reason=reason)


def _fold_order(order: Order, receipts: Iterable[Receipt]) -> tuple[OrderStatus, Completion | None]:
    own = list(of_order(order, receipts))
    completing = completing_receipt(order, own)
    after = _order_status(order, own)
    _check_order_move(order.status, after)
    completion = None
    if completing is not None:
        completion = Completion(
            tx_hash=completing.identity.tx_hash,
            log_index=completing.evidence.log_index,
            block_number=completing.evidence.block_number,
            block_hash=completing.evidence.block_hash,
            confirmed_at=completing.evidence.block_time,
        )
    return after, completion


def _order_status(order: Order, own: Sequence[Receipt]) -> OrderStatus:
    def total(*statuses: ReceiptStatus) -> int:
        return sum(r.amount for r in own if r.status in statuses)

    supporting, final = total(*SUPPORTING_RECEIPTS), total(ReceiptStatus.FINAL)
    live = supporting + total(ReceiptStatus.SEEN)
    has_live = any(r.status in SUPPORTING_RECEIPTS or r.status is ReceiptStatus.SEEN for r in own)
    # Disputed money still counts, so a final order stays final until a person says otherwise.
    is_final = final >= order.enough or order.status is OrderStatus.FINAL
    again = order.status in {OrderStatus.CONFIRMING, OrderStatus.PARTIALLY_PAID, *_WITHDRAWN}
    expired = order.closed_as is OrderStatus.EXPIRED
    table = (
        # A person who took the money another way does not doubt it.
        (order.manual is not None, OrderStatus.FINAL),
        (has_live and supporting >= order.enough, OrderStatus.FINAL if is_final else OrderStatus.CONFIRMED),
        # First of all a paid order is reversed; what follows from there is another move.
        (order.status in PAID_ORDERS, OrderStatus.REVERSED),
        (has_live and live >= order.enough, OrderStatus.CONFIRMING),
        # What its charge had come to says nothing any more: that money was there, and is gone.
        (order.status is OrderStatus.REVERSED, OrderStatus.EXPIRED if expired else OrderStatus.REVERSED),
        (order.pull is not None and not expired, _PULLED.get(order.pull or "", order.status)),
        (order.closed_as is not None, order.closed_as or order.status),
        (live > 0, OrderStatus.PARTIALLY_PAID),
    )
    # A renewal that was withdrawn, or whose charge failed, may be offered again; a payment in part may disappear.
    return next((status for holds, status in table if holds), OrderStatus.PENDING if again else order.status)


def _check_order_move(before: OrderStatus, after: OrderStatus) -> None:
    """Check the move rung by rung: a reader that was away sees several confirmations at once."""
    if after not in _LADDER:
        check_move(ORDER_MOVES, before, after)
        return
    start = _LADDER.index(before) + 1 if before in _LADDER else 0
    for rung in _LADDER[start : _LADDER.index(after) + 1] or (after,):
        # What was partially confirmed is completed in one step.
        check_move(ORDER_MOVES, before, rung)
        before = rung


def standing(
    subscription: Subscription,
    orders: Sequence[Order],
    receipts: Sequence[Receipt],
    changes: Sequence[SubscriptionChange],
    now: datetime,
    *,
    policy: DunningPolicy = NO_DUNNING,
    plans: Mapping[tuple[str, int], SubscriptionPlan] | None = None,
) -> Standing:
    """Fold the facts of a subscription into where it stands at ``now``.

    Time alone only opens things here: a start, a trial that is paid. That a period fell due unpaid, that a debt has
    grown old and that a subscription is over are facts of their own: the biller writes them down when every payment
    until then is known. So a payment that was read late never finds that it was punished for that.

    Args:
        subscription: as stored.
        orders, receipts, changes: all of it.
        now: the clock.
        policy: of the plan whose terms hold, where ``plans`` does not have it.
        plans: versions by (slug, version): of all terms that may come to hold.

    Raises:
        IllegalTransition: the result cannot follow from the stored status.

    """
    flags = _flags(changes, now)
    paid = payers(orders, receipts)
    firsts = {period: by.moment for period, by in paid.items()}
    book = terms_book(subscription, orders, receipts, changes, paid)
    calendar = paid_calendar(subscription, orders, changes, firsts, book)
    table, paid_until = calendar.table, calendar.paid_until
    over = subscription.status in OVER_SUBSCRIPTIONS or flags["end"] or flags["expire"]
    debts = () if over else debts_of(orders, receipts, firsts)
    _, terms = book.holding(running_moment(changes, now), table)
    plan = (plans or {}).get(terms.key)
    policy = plan.dunning if plan is not None else policy
    follows: dict[str, Any] = {
        "plan_slug": terms.plan_slug,
        "plan_version": terms.plan_version,
        "interval": terms.interval,
        "quantity": terms.quantity,
        "anchor": calendar.anchor,
        "segments": calendar.segments,
        "paid_periods": calendar.settled,
        "paid_until": paid_until,
        "cancel_at_period_end": flags["cancel_at_period_end"],
        "dunning_state": None,
        "dunned_at": None,
        "chain_id": max(orders, key=lambda o: o.ledger_id).chain_id if orders else subscription.chain_id,
    }
    if debts:
        follows |= {"dunning_state": subscription.dunning_state, "dunned_at": subscription.dunned_at}
        owing = attrs.evolve(subscription, **follows)
        follows["dunning_state"] = _eased(owing, debts, failed_attempts(debts, orders), now, policy)
    suspended = flags["suspend"] or policy.has(follows["dunning_state"], "suspend")
    status = _status(subscription, paid_until, flags, debts, now, suspended=suspended)
    check_reachable(SUBSCRIPTION_MOVES, subscription.status, status)
    paused = status is SubscriptionStatus.PAUSED
    asks = status not in OVER_SUBSCRIPTIONS and not paused and not flags["cancel_at_period_end"]
    begun = paid_until is not None and paid_until <= now
    tolerated = sum(missing_of(o, receipts) for o in orders if o.tolerance)
    placed = attrs.evolve(
        subscription,
        **follows,
        status=status,
        next_charge_at=table.start(calendar.settled) if asks and table is not None else None,
        debt=(_debt(debts, orders, period=calendar.settled, begun=begun) if asks else 0) + tolerated,
    )
    look_at = next_look(placed, orders, debts, policy, turns=_turns(book, changes, table, now))
    return Standing(subscription=attrs.evolve(placed, look_at=look_at), debts=debts)


def debts_of(orders: Sequence[Order], receipts: Sequence[Receipt], firsts: Mapping[int, datetime]) -> tuple[Debt, ...]:
    """Return what is owed, the oldest first: what fell due and was not paid since.

    Args:
        orders, receipts: of a subscription.
        firsts: when its periods were paid.

    """
    owed = [o for o in orders if o.claim == "owed" and o.period is not None and o.period not in firsts]
    found = [
        Debt(
            ledger_id=order.ledger_id,
            period=order.period or 0,
            due_at=order.due_at or order.created_at,
            amount=order.amount - _supported(order, receipts),
            asset=order.asset,
        )
        for order in owed
    ]
    return tuple(sorted(found, key=lambda debt: (debt.due_at, debt.ledger_id)))


def _debt(debts: Sequence[Debt], orders: Sequence[Order], *, period: int, begun: bool) -> int:
    """Return what is owed in the asset of the oldest debt; without one, what is asked for a period that has begun."""
    if debts:
        return sum(debt.amount for debt in debts if debt.asset == debts[0].asset)
    asked = [o.amount for o in orders if begun and o.period == period and o.status in OPEN_ORDERS]
    return max(asked, default=0)


def _supported(order: Order, receipts: Iterable[Receipt]) -> int:
    return sum(r.amount for r in of_order(order, receipts) if r.status in SUPPORTING_RECEIPTS)


def _turns(book: TermsBook, changes: Sequence[SubscriptionChange], table: PeriodTable | None, now: datetime) -> Turns:
    """Return what time alone will do that was decided before: terms that begin, a pause that begins."""
    pause = open_pause(changes)
    return Turns(
        moments=tuple(moment for moment in book.begins(table) if moment > now),
        pause=pause.since if pause is not None and pause.since > now else None,
    )


def _flags(changes: Sequence[SubscriptionChange], now: datetime) -> dict[str, bool]:
    flags = dict.fromkeys(("cancel_at_period_end", "end", "pause", "suspend", "expire"), False)
    undo = {"undo_cancel": "cancel_at_period_end", "resume": "pause", "unsuspend": "suspend"}
    for change in sorted(changes, key=lambda c: c.seq):
        if change.effective_at <= now:
            flags[undo.get(change.kind, change.kind)] = change.kind not in undo
    return flags


def _eased(
    placed: Subscription, debts: Sequence[Debt], attempts: int, now: datetime, policy: DunningPolicy
) -> str | None:
    """Return a better state of dunning if the subscription is in one; a worse one is the biller's to say."""
    state = dunning(placed, debts, attempts, now, policy).state
    return state if policy.rank(state) > policy.rank(placed.dunning_state) else placed.dunning_state


def _status(
    stored: Subscription,
    paid_until: datetime | None,
    flags: Mapping[str, bool],
    debts: Sequence[Debt],
    now: datetime,
    *,
    suspended: bool,
) -> SubscriptionStatus:
    table = (
        # What is over stays over: a payment that is reversed or restored afterwards moves money, not the standing.
        (stored.status in OVER_SUBSCRIPTIONS, stored.status),
        (flags["end"], SubscriptionStatus.ENDED),
        (flags["expire"], SubscriptionStatus.INCOMPLETE_EXPIRED),
        (flags["pause"], SubscriptionStatus.PAUSED),
        (stored.start_at is not None and now < stored.start_at, SubscriptionStatus.SCHEDULED),
        (stored.trial_end is not None and now < stored.trial_end, SubscriptionStatus.TRIALING),
        (paid_until is None and stored.trial_end is None, SubscriptionStatus.INCOMPLETE),
        (bool(debts) and suspended, SubscriptionStatus.SUSPENDED),
        (bool(debts), SubscriptionStatus.PAST_DUE),
        (paid_until is not None, SubscriptionStatus.ACTIVE),
    )
    # Else a trial is over, and nobody has yet looked whether it was paid.
    return next((status for holds, status in table if holds), SubscriptionStatus.TRIALING)
