"""The rule of checkout: facts in, an unsigned order and the decisions around it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import attrs
from attrs import field, frozen

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.decisions import (
    Decision,
    OpenSubscription,
    RecordAudit,
    StoreEntitlement,
    StoreOrder,
)
from evmbilling.domain.journal import Journal, order_facts, plan_change
from evmbilling.domain.messages.events import EventType
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.refunds.shortening import shortened
from evmbilling.domain.selling.giving_way import abandon, end_lapsed, has_lapsed, in_flight, supersede
from evmbilling.domain.selling.offering import CheckoutRequest, ExtraLines, Offer, draw_order, make_lines, period_lines
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import IN_FLIGHT_ORDERS, OPEN_ORDERS, OrderStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.access import Entitlement, entitle_subscription
from evmbilling.domain.subscriptions.calendar import add_days
from evmbilling.domain.subscriptions.draft import SubscriptionDraft
from evmbilling.domain.subscriptions.facts import SubscriptionFacts
from evmbilling.domain.subscriptions.looking import is_asked_by_biller
from evmbilling.domain.subscriptions.standing import standing
from evmbilling.domain.subscriptions.subscriptions import Subscription, SubscriptionChange
from evmbilling.domain.subscriptions.trials import trial_audit
from evmbilling.errors import ChangeNeeded, Conflict, InputError

FURTHEST_START = timedelta(days=3660)


@frozen(kw_only=True)
class CheckoutFacts:
    """What is stored about the customer when the rule is asked.

    Attributes:
        live: the live subscription to the product, with its orders and changes; with its receipts and what the
            customer is entitled to where it may give way.
        instance_id: 8 bytes that prefix every reference.

    """

    instance_id: bytes
    customer: Customer
    live: Subscription | None = None
    orders: Sequence[Order] = ()
    changes: Sequence[SubscriptionChange] = ()
    receipts: Sequence[Receipt] = ()
    entitlements: Sequence[Entitlement] = ()
    live_plan: SubscriptionPlan | None = None


@frozen(kw_only=True)
class NewIds:
    """Fresh ids for what the rule may create."""

    ledger_id: str
    subscription_id: str


@frozen(kw_only=True)
class CheckoutOutcome:
    """Either an order that exists and answers the request, or a new one to be signed and opened.

    Attributes:
        decisions: to be applied before the order is inserted.
        journal: events so far; the caller publishes through it.

    """

    order: Order
    is_new: bool
    decisions: tuple[Decision, ...] = ()
    journal: Journal = field(repr=False)


def plan_checkout(
    request: CheckoutRequest,
    offer: Offer,
    facts: CheckoutFacts,
    *,
    now: datetime,
    ids: NewIds,
    new_id: Callable[[], str],
    extra: ExtraLines | None = None,
    may_try: Callable[[], bool] = lambda: True,
    replaces: Order | None = None,
) -> CheckoutOutcome:
    """Decide what a checkout does; ``replaces`` is an order without subscription that a requote withdraws.

    Same plan with a live subscription: pays the open or the next period; one that has lapsed
    ends, and a new one begins. Money already in flight for that period
    answers with the order that it is for. Another open order for the period is superseded: one open intent per period.
    ``may_try`` is asked when a subscription begins whose plan has a trial.

    Raises:
        ChangeNeeded: the live subscription is on another plan or quantity.
        InputError: ``start_at`` is not in the future or the subscription has started.
        Conflict: the live subscription ends before the next period, because what was paid to come was given back.

    """
    journal = Journal(facts.customer, now, new_id)
    if not offer.plan.interval.recurs:
        order = _make_order(request, offer, facts, ids=ids, now=now, extra=extra)
        old = [replaces] if replaces is not None else []
        return _with_superseded(order, old, [], journal)
    decisions: list[Decision] = []
    live = facts.live
    if live is not None:
        draft = SubscriptionDraft(_held(live, offer, facts), journal, now=now, as_of=now, new_id=new_id)
        if has_lapsed(live, facts.live_plan, facts.changes, now) and not in_flight(facts.orders):
            decisions += end_lapsed(draft)
            live = None
        elif not _continues(request, offer, live):
            decisions += abandon(draft)
            live = None
    if live is None:
        tries = offer.plan.trial_days > 0 and may_try()
        live = _start_subscription(request, offer, facts, ids.subscription_id, now, tries=tries)
        decisions += [OpenSubscription(live), *_entitle(live, offer.plan, now, journal)]
        if offer.plan.trial_days:
            decisions.append(RecordAudit(trial_audit(live, now, new_id())))
        siblings: Sequence[Order] = ()
    else:
        if request.start_at is not None and request.start_at != live.start_at:
            raise InputError("the subscription exists already; its start cannot be chosen again", field="start_at")
        if shortened(facts.changes) is not None:
            # The next period would lie behind one that was given back.
            raise Conflict(
                "it ends soon, as was given back: check out once it is over", field="plan", reason="given_back"
            )
        siblings = [o for o in facts.orders if o.period == live.paid_periods]
    standing_in = _still_good(siblings, request, offer, now)
    if standing_in is not None:
        return CheckoutOutcome(order=standing_in, is_new=False, decisions=tuple(decisions), journal=journal)
    order = _make_order(request, offer, facts, ids=ids, now=now, extra=extra, subscription=live)
    return _with_superseded(order, siblings, decisions, journal)


def _held(live: Subscription, offer: Offer, facts: CheckoutFacts) -> SubscriptionFacts:
    given = next((e for e in facts.entitlements if e.source_id == live.subscription_id), None)
    return SubscriptionFacts(
        subscription=live,
        plan=facts.live_plan or offer.plan,
        orders=facts.orders,
        receipts=facts.receipts,
        changes=facts.changes,
        entitlement=given,
    )


def closing(order: Order, outcome: CheckoutOutcome) -> tuple[Decision, ...]:
    """Return the last decisions of a checkout: its events and the customer's row that counts them."""
    if outcome.is_new:
        outcome.journal.publish(EventType.ORDER_OPENED, order_facts(order))
    return outcome.journal.decisions()


def _continues(request: CheckoutRequest, offer: Offer, live: Subscription) -> bool:
    """Whether the request pays the live subscription; False when an unpaid one gives way to it."""
    same = (live.plan_slug, live.quantity) == (request.plan, request.quantity)
    if live.status is SubscriptionStatus.INCOMPLETE:
        return same and live.plan_version == offer.plan.version
    waiting = live.status is SubscriptionStatus.SCHEDULED and live.trial_end is None and live.anchor is None
    if waiting and not same:
        return False
    if not same:
        raise ChangeNeeded(field="plan", subscription_id=live.subscription_id, plan=live.plan_slug)
    return True


def _still_good(siblings: Sequence[Order], request: CheckoutRequest, offer: Offer, now: datetime) -> Order | None:
    """Return an order for the same period that must not be doubled.

    Money for it is in flight, came in part or was taken back; or it is the period's renewal and asks for the same.
    """
    for order in siblings:
        if order.status in IN_FLIGHT_ORDERS:
            return order
        wanted = (request.wallet, request.beneficiary or request.wallet, offer.price.asset, offer.contract.address)
        same = (order.wallet, order.beneficiary, order.asset, order.contract) == wanted
        same = same and (order.plan_slug, order.plan_version) == (offer.plan.slug, offer.plan.version)
        if is_asked_by_biller(order) and same and order.status in OPEN_ORDERS and now <= order.deadline:
            return order
        payable = now <= order.deadline and order.closed_as is None
        if payable and order.status in {OrderStatus.PARTIALLY_PAID, OrderStatus.REVERSED}:
            return order
    return None


def _with_superseded(
    order: Order, others: Sequence[Order], decisions: Sequence[Decision], journal: Journal
) -> CheckoutOutcome:
    """Return the outcome of a new order that takes the place of the open ones among ``others``."""
    old = [supersede(o, journal) for o in others if o.status in OPEN_ORDERS and o.closed_as is None]
    return CheckoutOutcome(
        order=attrs.evolve(order, supersedes=old[-1].ledger_id) if old else order,
        is_new=True,
        decisions=(*decisions, *(StoreOrder(o) for o in old)),
        journal=journal,
    )


def _start_subscription(
    request: CheckoutRequest,
    offer: Offer,
    facts: CheckoutFacts,
    subscription_id: str,
    now: datetime,
    *,
    tries: bool,
) -> Subscription:
    if request.start_at is not None and request.start_at <= now:
        raise InputError("a deferred start lies in the future", field="start_at")
    if request.start_at is not None and request.start_at > now + FURTHEST_START:
        raise InputError(f"a deferred start is at most {FURTHEST_START.days} days away", field="start_at")
    plan, zone = offer.plan, request.zone or facts.customer.zone
    trial_end = add_days(request.start_at or now, plan.trial_days, zone) if tries else None
    fresh = Subscription(
        subscription_id=subscription_id,
        user_id=request.user_id,
        product=request.product or plan.product,
        plan_slug=plan.slug,
        plan_version=plan.version,
        interval=plan.interval,
        quantity=request.quantity,
        zone=zone,
        created_at=now,
        start_at=request.start_at,
        trial_end=trial_end,
        status=SubscriptionStatus.SCHEDULED if request.start_at else SubscriptionStatus.INCOMPLETE,
    )
    placed = standing(fresh, (), (), (), now, policy=plan.dunning).subscription
    return attrs.evolve(placed, chain_id=offer.price.asset.chain_id)


def _entitle(live: Subscription, plan: SubscriptionPlan, now: datetime, journal: Journal) -> list[Decision]:
    fresh = entitle_subscription(live, plan)
    return [StoreEntitlement(plan_change(journal, None, fresh, now=now, cause="change", occurred_at=now))]


def _make_order(
    request: CheckoutRequest,
    offer: Offer,
    facts: CheckoutFacts,
    *,
    ids: NewIds,
    now: datetime,
    extra: ExtraLines | None,
    subscription: Subscription | None = None,
) -> Order:
    lines = make_lines(offer, request.user_id, request.quantity, extra)
    if subscription is not None and subscription.table is not None:
        # What is paid ahead costs what its renewal would: a stub is priced by the second.
        lines = period_lines(lines, subscription.table, subscription.paid_periods)
    return draw_order(
        request,
        offer,
        lines=lines,
        instance_id=facts.instance_id,
        ledger_id=ids.ledger_id,
        now=now,
        deadline=now + timedelta(seconds=offer.gateway.order_ttl),
        subscription=subscription,
        period=subscription.paid_periods if subscription else None,
    )
