"""The rule of checkout: facts in, an unsigned order and the decisions around it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import attrs
from attrs import field, frozen

from evmbilling.domain.access import Entitlement, entitle_subscription
from evmbilling.domain.calendar import add_days, boundary
from evmbilling.domain.catalogue import Network, PaymentContract, PaymentGateway, Price, SubscriptionPlan
from evmbilling.domain.customers import Customer
from evmbilling.domain.decisions import (
    Decision,
    OpenSubscription,
    RecordAudit,
    StoreEntitlement,
    StoreOrder,
)
from evmbilling.domain.events import EventType
from evmbilling.domain.giving_way import Held, abandon, end_lapsed, has_lapsed, in_flight, supersede
from evmbilling.domain.identity import Product, make_reference
from evmbilling.domain.journal import Journal, order_facts, plan_change
from evmbilling.domain.orders import Order, OrderLine, sum_lines
from evmbilling.domain.standing import apply_standing, standing
from evmbilling.domain.states import OPEN_ORDERS, OrderStatus, SubscriptionStatus
from evmbilling.domain.subscriptions import Subscription, SubscriptionChange
from evmbilling.domain.trials import trial_audit
from evmbilling.errors import ChangeNeeded, InputError, UnknownAsset, UnknownNetwork

FURTHEST_START = timedelta(days=3660)
ExtraLines = Callable[[SubscriptionPlan, str, int, tuple[OrderLine, ...]], Sequence[OrderLine]]
"""A host's callable: (plan, user_id, quantity, lines so far) -> tax and discount lines. Pure and quick."""


@frozen(kw_only=True)
class CheckoutRequest:
    """A checkout's parameters, parsed; None stands for what the caller left to us."""

    plan: str
    user_id: str
    wallet: str
    network: str | None
    asset: str | None
    product: Product | None
    quantity: int
    beneficiary: str | None
    zone: str | None
    start_at: datetime | None


@frozen(kw_only=True)
class Offer:
    """Where a plan is sold: one price, with the network, gateway and contract behind it."""

    plan: SubscriptionPlan
    price: Price
    network: Network
    gateway: PaymentGateway
    contract: PaymentContract
    treasury: str


@frozen(kw_only=True)
class CheckoutFacts:
    """What is stored about the customer when the rule is asked.

    Attributes:
        live: the live subscription to the product, with its orders and changes.
        instance_id: 8 bytes that prefix every reference.

    """

    instance_id: bytes
    customer: Customer
    live: Subscription | None = None
    orders: Sequence[Order] = ()
    changes: Sequence[SubscriptionChange] = ()
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


def choose_price(plan: SubscriptionPlan, network: str | None, asset: str | None) -> Price:
    """Return the plan's price for a network and an asset (a symbol or a token address); the first that fits.

    Raises:
        UnknownNetwork: the plan is not sold there.
        UnknownAsset: the plan has no price in that asset there.

    """
    on_network = [p for p in plan.prices if network in (None, p.network)]
    if not on_network:
        raise UnknownNetwork(f"the plan {plan.slug} is not sold on {network}", field="network")
    for price in on_network:
        if asset is None or asset.lower() == price.asset.token.lower() or asset == price.asset.symbol:
            return price
    raise UnknownAsset(f"the plan {plan.slug} has no price in {asset}", field="asset")


def make_lines(offer: Offer, user_id: str, quantity: int, extra: ExtraLines | None) -> tuple[OrderLine, ...]:
    """Return the order's lines: the plan, further pieces, then what the host adds."""
    unit = offer.price.amount
    lines: tuple[OrderLine, ...] = (OrderLine(kind="plan", text=offer.plan.name, amount=unit),)
    if quantity > 1:
        lines += (OrderLine(kind="quantity", text=f"{quantity - 1} more", amount=unit * (quantity - 1)),)
    given = extra(offer.plan, user_id, quantity, lines) if extra else ()
    if not isinstance(given, tuple | list) or not all(isinstance(line, OrderLine) for line in given):
        raise InputError("a host's lines are a list of order lines", field="lines")
    if any(line.kind not in ("tax", "discount") or type(line.amount) is not int for line in given):
        raise InputError("a host adds lines of kind tax or discount with whole base units", field="lines")
    if not all(isinstance(line.text, str) and line.text.isprintable() for line in given):
        raise InputError("the text of a line is printable", field="lines")
    return (*lines, *given)


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

    """
    journal = Journal(facts.customer, now, new_id)
    if not offer.plan.interval.recurs:
        order = _make_order(request, offer, facts, ids=ids, now=now, extra=extra)
        old = [replaces] if replaces is not None else []
        return _with_superseded(order, old, [], journal)
    decisions: list[Decision] = []
    live = facts.live
    if live is not None:
        held = Held(live=live, plan=facts.live_plan, orders=facts.orders, changes=facts.changes)
        if has_lapsed(live, facts.live_plan, now) and not in_flight(facts.orders):
            decisions += end_lapsed(held, now, journal)
            live = None
        elif not _continues(request, offer, live):
            decisions += abandon(held, now, journal)
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
        siblings = [o for o in facts.orders if o.period == live.paid_periods]
    standing_in = _still_good(siblings, now)
    if standing_in is not None:
        return CheckoutOutcome(order=standing_in, is_new=False, decisions=tuple(decisions), journal=journal)
    order = _make_order(request, offer, facts, ids=ids, now=now, extra=extra, subscription=live)
    return _with_superseded(order, siblings, decisions, journal)


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


def _still_good(siblings: Sequence[Order], now: datetime) -> Order | None:
    """Return an order for the same period that must not be doubled: money is in flight, in part or was taken back."""
    for order in siblings:
        if order.status is OrderStatus.CONFIRMING:
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
    return apply_standing(fresh, standing(fresh, (), (), (), now))


def _entitle(live: Subscription, plan: SubscriptionPlan, now: datetime, journal: Journal) -> list[Decision]:
    entitlement = entitle_subscription(live, plan)
    plan_change(journal, None, entitlement, now=now, cause="change", occurred_at=now)
    return [StoreEntitlement(entitlement)]


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
    amount = sum_lines(lines)
    if amount == 0:
        raise InputError("an order of nothing cannot be paid on chain", field="lines")
    # Whole seconds: the chain's clock has no fractions, and the signed deadline must be the stored one.
    deadline = now.replace(microsecond=0) + timedelta(seconds=offer.gateway.order_ttl)
    return Order(
        ledger_id=ids.ledger_id,
        reference=make_reference(facts.instance_id, ids.ledger_id),
        user_id=request.user_id,
        product=request.product or offer.plan.product,
        plan_slug=offer.plan.slug,
        plan_version=offer.plan.version,
        subscription_id=subscription.subscription_id if subscription else None,
        period=subscription.paid_periods if subscription else None,
        gateway_slug=offer.gateway.slug,
        contract_slug=offer.contract.slug,
        network=offer.network.name,
        asset=offer.price.asset,
        quantity=request.quantity,
        lines=lines,
        amount=amount,
        wallet=request.wallet,
        beneficiary=request.beneficiary or request.wallet,
        contract=offer.contract.address,
        treasury=offer.treasury,
        gas=dict(offer.contract.gas)["native" if offer.price.asset.is_native else "token"],
        created_at=now,
        deadline=deadline,
        member_until=_member_until(subscription, now) if subscription else None,
        rail="erc20" if offer.contract.kind == "erc20" else "checkout",
        tolerance=offer.gateway.misfits.tolerance(amount),
    )


def _member_until(subscription: Subscription, now: datetime) -> datetime:
    """Estimate the end of the period being paid: what the chain may show; access is decided elsewhere."""
    anchor = subscription.anchor or max(t for t in (now, subscription.start_at, subscription.trial_end) if t)
    end = boundary(anchor, subscription.interval, subscription.zone, subscription.paid_periods + 1)
    return end.replace(microsecond=0)
