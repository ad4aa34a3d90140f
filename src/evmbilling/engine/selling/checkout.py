"""Checkout, quote, requote: no network I/O, joined or not."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import attrs

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.decisions import BindKey, Decision
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.selling.checkout import CheckoutFacts, NewIds, closing, plan_checkout
from evmbilling.domain.selling.giving_way import has_lapsed
from evmbilling.domain.selling.offering import CheckoutRequest, make_lines
from evmbilling.domain.selling.offers import Checkout, Quote
from evmbilling.domain.selling.orders import KeyRecord, Order, sum_lines
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.states import IN_FLIGHT_ORDERS, OPEN_ORDERS, PAID_ORDERS, OrderStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.admin.bindings import call_of
from evmbilling.engine.context import Ports
from evmbilling.engine.host_code import tell_callable
from evmbilling.engine.requests import fingerprint
from evmbilling.engine.selling.availability import check_owner, find_offer
from evmbilling.engine.selling.deposit_orders import opening
from evmbilling.engine.selling.orders import answer, find_order, order_provider
from evmbilling.errors import (
    ArchivedPlan,
    ChangeNeeded,
    IdempotencyConflict,
    InputError,
    TooManyOpenOrders,
    UnknownPlan,
)
from evmbilling.ports.storage import Unit

_UNPAID = (*sorted(OPEN_ORDERS), OrderStatus.SUPERSEDED, OrderStatus.CANCELLED)


def check_out(
    ports: Ports, unit: Unit, request: CheckoutRequest, *, operation: str, key: str, replaces: str | None = None
) -> Checkout:
    """Make or replay a checkout inside a transaction; ``replaces`` is the order that a requote withdraws."""
    now = ports.clock.now()
    customer = unit.lock_customer(Customer(user_id=request.user_id, zone=request.zone or "UTC", created_at=now))
    unit.read_ahead(operation=operation, key=key, request=request)
    mark = fingerprint(operation, request) if replaces is None else _mark_of_requote(operation, request, replaces)
    known = unit.key(operation, request.user_id, key)
    if known is not None:
        return _replay(ports, unit, known, mark, now)
    plan, live = _plan_to_sell(ports, unit, request)
    offer = find_offer(unit, plan, request, now=now)
    provider = ports.provider(offer.gateway.provider)
    ids = NewIds(ledger_id=ports.ids.new_id(), subscription_id=ports.ids.new_id())
    outcome = plan_checkout(
        request,
        offer,
        _facts(ports, unit, customer, live),
        now=now,
        ids=ids,
        new_id=ports.ids.new_id,
        extra=ports.extra_lines,
        may_try=partial(_may_try, ports, unit, request, plan),
        replaces=unit.order(replaces) if replaces else None,
    )
    if outcome.is_new:
        _refuse_hoarding(unit, request.user_id, ports.open_orders, now)
    order = outcome.order
    decisions: list[Decision] = list(outcome.decisions)
    if outcome.is_new:
        if order.rail == "checkout":
            signer, signature = provider.sign(order, offer.gateway)
            order = attrs.evolve(order, signer=signer, signature=signature)
        elif order.rail == "call":
            order = call_of(unit, provider, order, offer.contract)
        check_owner(unit, offer, order.user_id, order.wallet)
        decisions += opening(order, offer.gateway.misfits, now)
    record = KeyRecord(
        operation=operation,
        user_id=request.user_id,
        key=key,
        fingerprint=mark,
        ledger_id=order.ledger_id,
        created_at=now,
    )
    unit.apply([*decisions, BindKey(record), *closing(order, outcome)])
    ports.telemetry.count("checkouts", network=order.network, replayed="no")
    return answer(provider, order, now)


def make_quote(ports: Ports, unit: Unit, request: CheckoutRequest) -> Quote:
    """Say what a checkout would ask for; writes nothing."""
    plan, _ = _plan_to_sell(ports, unit, request)
    offer = find_offer(unit, plan, request, now=ports.clock.now())
    lines = make_lines(offer, request.user_id, request.quantity, ports.extra_lines)
    return Quote(
        plan_slug=plan.slug,
        plan_version=plan.version,
        network=offer.network.name,
        asset=offer.price.asset,
        quantity=request.quantity,
        lines=lines,
        amount=sum_lines(lines),
        valid_for=offer.gateway.order_ttl,
    )


def requote_request(order: Order) -> CheckoutRequest:
    """Return the request that asks again for what an order asked."""
    return CheckoutRequest(
        plan=order.plan_slug,
        user_id=order.user_id,
        wallet=order.wallet,
        network=order.network,
        asset=order.asset.token,
        product=order.product,
        quantity=order.quantity,
        beneficiary=order.beneficiary,
        zone=None,
        start_at=None,
    )


def requote(ports: Ports, unit: Unit, ledger_id: str, *, user_id: str | None, key: str | None) -> Checkout:
    """Withdraw an unpaid order and offer the same again; an order with money answers as it is."""
    order = find_order(unit, ledger_id, user_id)
    if order.status in PAID_ORDERS or order.status in IN_FLIGHT_ORDERS:
        return answer(order_provider(ports, unit, order), order, ports.clock.now())
    if order.origin == "change" and order.period is None:
        # Its difference was to a moment that has passed; a checkout would sell a period instead.
        raise ChangeNeeded(
            "this order pays for a change: ask for that again with change_subscription",
            field="ledger_id",
            subscription_id=order.subscription_id,
        )
    request = _as_it_began(unit, order, ports.clock.now())
    return check_out(ports, unit, request, operation="requote", key=key or ledger_id, replaces=ledger_id)


def _mark_of_requote(operation: str, request: CheckoutRequest, ledger_id: str) -> bytes:
    """Return a requote's fingerprint: zone and start are the subscription's, which may have moved since."""
    return fingerprint(f"{operation} {ledger_id}", attrs.evolve(request, zone=None, start_at=None))


def _as_it_began(unit: Unit, order: Order, now: datetime) -> CheckoutRequest:
    """Return the request of a requote; where its subscription gave way, another begins in its zone, and no earlier."""
    request = requote_request(order)
    begun = unit.subscriptions([order.subscription_id]).get(order.subscription_id) if order.subscription_id else None
    if begun is None:
        return request
    live = unit.live_subscription(order.user_id, order.product)
    is_to_come = begun.start_at is not None and begun.start_at > now
    starts_anew = is_to_come and (live is None or live.plan_slug != order.plan_slug)
    return attrs.evolve(request, zone=begun.zone, start_at=begun.start_at if starts_anew else None)


def _refuse_hoarding(unit: Unit, user_id: str, most: int | None, now: datetime) -> None:
    """Refuse one more order to a customer who has as many as there may be that a wallet could still pay.

    Withdrawn ones count while their signature holds, or asking anew would make any number of them.

    Raises:
        TooManyOpenOrders: as it says.

    """
    if most is None:
        return
    wanted = OrderFilter(user_id=user_id, statuses=_UNPAID, origin="checkout", deadline_from=now)
    held = unit.find_orders(wanted, limit=most)
    if len(held) >= most:
        raise TooManyOpenOrders(field="user_id", limit=most, next_at=min(order.deadline for order in held).isoformat())


def _may_try(ports: Ports, unit: Unit, request: CheckoutRequest, plan: SubscriptionPlan) -> bool:
    """Whether a plan's trial is given: one for each user and product, and as the host's rule says; fails closed."""
    product = request.product or plan.product
    if any(s.product == product and s.trial_end is not None for s in unit.subscriptions_of_user(request.user_id)):
        return False
    if ports.allow_trial is None:
        return True
    try:
        return ports.allow_trial(plan, request.user_id, request.wallet) is True
    except Exception as error:  # noqa: BLE001  - whatever the host's code raises, nobody has said that a trial is fine
        ports.telemetry.count("trial_rule_failed")
        tell_callable(ports, "allow_trial", error)
        return False


def _replay(ports: Ports, unit: Unit, known: KeyRecord, mark: bytes, now: datetime) -> Checkout:
    if known.fingerprint != mark:
        raise IdempotencyConflict(field="idempotency_key")
    order = find_order(unit, known.ledger_id, known.user_id)
    ports.telemetry.count("checkouts", network=order.network, replayed="yes")
    return answer(order_provider(ports, unit, order), order, now, replayed=True)


def _plan_to_sell(ports: Ports, unit: Unit, request: CheckoutRequest) -> tuple[SubscriptionPlan, Subscription | None]:
    """Return the plan version that this user buys, and the live subscription to its product."""
    newest = unit.plan(request.plan)
    if newest is None:
        raise UnknownPlan(f"there is no plan {request.plan}", field="plan")
    product = request.product or newest.product
    if product.type != newest.product.type:
        raise InputError(f"the plan {newest.slug} sells {newest.product.type}", field="product")
    live = unit.live_subscription(request.user_id, product) if newest.interval.recurs else None
    if live is not None and live.plan_slug == newest.slug and live.status is not SubscriptionStatus.INCOMPLETE:
        # A running subscription keeps its own version, at its own price, archived or not; a lapsed one begins anew.
        pinned = unit.plan(live.plan_slug, live.plan_version)
        if not _has_lapsed(ports, unit, live, pinned):
            return pinned or newest, live
    if newest.archived_at is not None:
        raise ArchivedPlan(f"the plan {newest.slug} is archived", field="plan")
    return newest, live


def _has_lapsed(ports: Ports, unit: Unit, live: Subscription, plan: SubscriptionPlan | None) -> bool:
    paused = live.status is SubscriptionStatus.PAUSED
    changes = unit.changes([live.subscription_id]) if paused else ()
    return has_lapsed(live, plan, changes, ports.clock.now())


def _facts(ports: Ports, unit: Unit, customer: Customer, live: Subscription | None) -> CheckoutFacts:
    instance_id = ports.storage.instance_id()
    if live is None:
        return CheckoutFacts(instance_id=instance_id, customer=customer)
    orders = unit.orders_of_subscriptions([live.subscription_id])
    live_plan = unit.plan(live.plan_slug, live.plan_version)
    unpaid = live.status in {SubscriptionStatus.INCOMPLETE, SubscriptionStatus.SCHEDULED}
    gives_way = unpaid or _has_lapsed(ports, unit, live, live_plan)
    return CheckoutFacts(
        instance_id=instance_id,
        customer=customer,
        live=live,
        orders=orders,
        changes=unit.changes([live.subscription_id]),
        receipts=unit.receipts_of_orders([o.ledger_id for o in orders]) if gives_way and orders else (),
        entitlements=unit.entitlements([live.user_id]) if gives_way else (),
        live_plan=live_plan,
    )
