"""How a subscription is paid: as it was paid last, or as its import said."""

from __future__ import annotations

import attrs

from evmbilling.domain.catalogue.plan_terms import TermsChange
from evmbilling.domain.selling.offering import CheckoutRequest
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.domain.subscriptions.calendars import adoption_of
from evmbilling.domain.subscriptions.facts import SubscriptionFacts
from evmbilling.domain.subscriptions.looking import REPLACED
from evmbilling.engine.selling.checkout import requote_request
from evmbilling.errors import NotFound


def paid_like(facts: SubscriptionFacts) -> CheckoutRequest:
    """Return the request that asks again as the newest order did that was neither replaced nor an unpaid change.

    Where all were replaced it is as the first one: that is how it began.

    Raises:
        NotFound: nothing says how it is paid.

    """
    newest = max((o for o in facts.orders if _counts(o)), key=lambda o: o.ledger_id, default=None)
    if newest is not None:
        return requote_request(newest)
    begun = [o for o in facts.orders if o.origin == "checkout"]
    if begun:
        return requote_request(min(begun, key=lambda o: o.ledger_id))
    adopted, held = adoption_of(facts.changes), facts.subscription
    if adopted is None:
        raise NotFound("nothing says how this subscription is paid", field="subscription_id")
    return CheckoutRequest(
        plan=held.plan_slug,
        user_id=held.user_id,
        wallet=adopted.wallet,
        network=adopted.network,
        asset=adopted.token,
        product=held.product,
        quantity=held.quantity,
        beneficiary=adopted.beneficiary,
        zone=None,
        start_at=None,
    )


def changed_request(request: CheckoutRequest, change: TermsChange) -> CheckoutRequest:
    """Return the request that asks for the terms of a change."""
    wallet = change.wallet or request.wallet
    own = request.beneficiary == request.wallet
    return attrs.evolve(
        request,
        plan=change.after.plan_slug,
        quantity=change.after.quantity,
        network=change.network or request.network,
        asset=change.token or request.asset,
        wallet=wallet,
        beneficiary=wallet if own else request.beneficiary,
    )


def _counts(order: Order) -> bool:
    if order.status in PAID_ORDERS:
        return True
    return order.failure_reason != REPLACED and not (order.origin == "change" and order.period is None)
