"""Mandates that a contract keeps which is bound by configuration: given on chain, and used by its own call.

Of such a mandate we know what the contract's event says: that its payer lets the contract take later periods. What the
contract allows in detail is in its code. So nothing is asked of it before a pull but whether the call would go through.
"""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.catalogue.catalogue import MAPPED, PaymentContract, SubscriptionPlan
from evmbilling.domain.identity import mandate_mark
from evmbilling.domain.mandates.mandates import LIFETIME, MAX_UINT160, Mandate, shortest_period
from evmbilling.domain.reading.evidence import Observation
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.admin.bindings import call_of
from evmbilling.engine.context import Ports
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit


def mark_of(seen: Observation) -> bytes:
    """Return by which name we know the mandate that a mapped contract's event is about."""
    return mandate_mark(seen.log.chain_id, seen.contract, seen.payer, seen.mandate)


def is_kept(unit: Unit, mandate: Mandate) -> bool:
    """Whether a mandate is kept by a contract that is bound by configuration."""
    bound = [c for c in unit.contracts(mandate.chain_id) if c.address == mandate.contract]
    return any(contract.kind == MAPPED for contract in bound)


def is_taken_by(unit: Unit, provider: Provider, order: Order, mandate: Mandate) -> bool:
    """Whether the call that an order holds is the one by which its contract takes a later period, as it is bound now.

    Any other call would be the payer's own: whoever else sends it would pay, or be paid.
    """
    contract = unit.contract(order.contract_slug, order.network)
    if contract is None or contract.renew_method is None or not order.period or order.contract != mandate.contract:
        return False
    return order.call is not None and call_of(unit, provider, order, contract).call == order.call


def agreed(ports: Ports, unit: Unit, seen: Observation, contract: PaymentContract, user_id: str) -> Mandate | None:
    """Return what a contract says that a customer has agreed to, as it was before; None where it is not clear for what.

    It is for the one running subscription of whoever has proved the payer's wallet whose newest order is paid through
    this contract by that wallet.
    """
    found = _subscription_of(unit, seen, user_id)
    plan = unit.plan(found[0].plan_slug, found[0].plan_version) if found is not None else None
    if found is None or plan is None or not plan.interval.recurs or found[1].asset.is_native:
        return None
    subscription, order = found
    most = min(seen.amount or _price(plan, subscription, order), MAX_UINT160)
    return Mandate(
        mandate_id=ports.ids.new_id(),
        digest=mark_of(seen),
        user_id=user_id,
        subscription_id=subscription.subscription_id,
        plan_slug=plan.slug,
        plan_version=plan.version,
        network=contract.network,
        asset=order.asset,
        contract=contract.address,
        payer=seen.payer,
        treasury=order.treasury,
        via="allowance",
        charge_cap=most,
        cap=most,
        spacing=shortest_period(plan.interval),
        start=seen.log.block_time,
        expires_at=seen.log.block_time + LIFETIME,
        salt=0,
        created_at=ports.clock.now(),
        version=0,
    )


def _subscription_of(unit: Unit, seen: Observation, user_id: str) -> tuple[Subscription, Order] | None:
    """Return the one subscription that an agreement can be for, with its newest order."""
    live = [s for s in unit.subscriptions_of_user(user_id) if s.status in LIVE_SUBSCRIPTIONS]
    family = unit.orders_of_subscriptions([s.subscription_id for s in live]) if live else ()
    fitting = []
    for subscription in live:
        newest = _newest(family, subscription)
        through = newest is not None and (newest.rail, newest.chain_id) == ("call", seen.log.chain_id)
        if newest is not None and through and (newest.contract, newest.wallet) == (seen.contract, seen.payer):
            fitting.append((subscription, newest))
    return fitting[0] if len(fitting) == 1 else None


def _newest(orders: Sequence[Order], subscription: Subscription) -> Order | None:
    own = [order for order in orders if order.subscription_id == subscription.subscription_id]
    return max(own, key=lambda order: order.ledger_id, default=None)


def _price(plan: SubscriptionPlan, subscription: Subscription, order: Order) -> int:
    """Return what a period costs, where the contract does not say how much may be taken."""
    prices = [p.amount * subscription.quantity for p in plan.prices if p.asset == order.asset]
    return prices[0] if prices else order.amount
