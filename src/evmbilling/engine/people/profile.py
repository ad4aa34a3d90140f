"""The profile bundle (row F5): what a user's account page shows, in one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from attrs import field, frozen

from evmbilling.domain.identity import parse_opaque
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.paying import paying_moments
from evmbilling.domain.people.customers import Wallet
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, OrderStatus
from evmbilling.domain.subscriptions.access import Access, access
from evmbilling.domain.subscriptions.standing import debts_of
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.context import Ports
from evmbilling.ports.storage import Unit

HISTORY = 20


@frozen(kw_only=True)
class Debt:
    """What is due and unpaid in one asset; base units."""

    asset: Asset
    amount: int


@frozen(kw_only=True)
class Profile:
    """A user as billing knows them. An unknown user has an empty profile.

    Attributes:
        wallets: confirmed ones.
        debts: by asset; empty when nothing is owed.
        last_payment: status of the newest order that money was sent for, None when there is none.
        history: the newest orders.

    """

    user_id: str
    zone: str
    locale: str
    wallets: Sequence[Wallet]
    access: Access
    subscriptions: Sequence[Subscription]
    debts: Sequence[Debt]
    last_payment: OrderStatus | None
    history: Sequence[Order] = field(repr=False)


def profile(ports: Ports, unit: Unit, user_id: str) -> Profile:
    """Load a user's profile."""
    user = parse_opaque(user_id, field="user_id")
    customer = unit.customer(user)
    subscriptions = [s for s in unit.subscriptions_of_user(user) if s.status in LIVE_SUBSCRIPTIONS]
    history = unit.orders_of_user(user, limit=HISTORY)
    paid_for = {r.ledger_id for r in unit.receipts_of_orders([o.ledger_id for o in history])}
    return Profile(
        user_id=user,
        zone=customer.zone if customer else "UTC",
        locale=customer.locale if customer else "en",
        wallets=unit.wallets(user),
        access=access(unit.entitlements([user]), ports.clock.now()),
        subscriptions=subscriptions,
        debts=_debts(unit, subscriptions),
        last_payment=next((o.status for o in history if o.ledger_id in paid_for), None),
        history=history,
    )


def _debts(unit: Unit, subscriptions: Sequence[Subscription]) -> tuple[Debt, ...]:
    """Add up what subscriptions owe by asset; without a debt, what is asked for a period that has begun."""
    owing = {s.subscription_id: s for s in subscriptions if s.debt}
    orders = unit.orders_of_subscriptions(owing) if owing else ()
    receipts = unit.receipts_of_orders([o.ledger_id for o in orders]) if orders else ()
    totals: dict[Asset, int] = defaultdict(int)
    for subscription in owing.values():
        own = [o for o in orders if o.subscription_id == subscription.subscription_id]
        debts = debts_of(own, receipts, paying_moments(own, receipts))
        for debt in debts:
            totals[debt.asset] += debt.amount
        asked = [o for o in own if o.period == subscription.paid_periods and o.amount == subscription.debt]
        if asked and not debts:
            totals[asked[0].asset] += subscription.debt
    return tuple(Debt(asset=asset, amount=amount) for asset, amount in totals.items())
