"""Terms: which plan, how many of it, how often it is paid; and what is written down when they change."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen

from evmbilling.domain.selling.orders import Order
from evmbilling.domain.subscriptions.calendar import Interval

ChangeTiming = Literal["now", "next_period"]


@frozen(kw_only=True)
class PlanTerms:
    """What a subscription is for: a plan version, how many pieces of it, and how often it is paid."""

    plan_slug: str
    plan_version: int
    quantity: int
    interval: Interval

    @property
    def key(self) -> tuple[str, int]:
        """What the plan version is stored under."""
        return self.plan_slug, self.plan_version


@frozen(kw_only=True)
class TermsChange:
    """A change of terms, as it was decided.

    Attributes:
        before, after: the terms.
        basis: number of the change that held when this one was decided; 0 for none. What is paid for by the difference
            between two terms holds only while the first of them does.
        ledger_id: the order that has to be paid for it; None when nothing has to be, or when it is the next period's.
        network, token, wallet: how it is paid from then on, where that changes.

    """

    before: PlanTerms
    after: PlanTerms
    basis: int = 0
    ledger_id: str | None = None
    network: str | None = None
    token: str | None = None
    wallet: str | None = None

    def asked_by(self, order: Order) -> bool:
        """Whether an order asks for these terms."""
        return asks_for(order, self.after) and all(
            wanted in (None, found)
            for wanted, found in (
                (self.network, order.network),
                (self.token, order.asset.token),
                (self.wallet, order.wallet),
            )
        )


@frozen(kw_only=True)
class Adoption:
    """How an existing subscriber came: what was paid elsewhere, and how it is paid from then on.

    Attributes:
        external_id: their name where they come from; unique for each customer.
        paid_until: until when they have paid there; our first period begins then.
        anchor: from which their calendar is counted.
        offset: how many intervals after the anchor the first period begins that is paid elsewhere.
        periods: how many periods are.
        network, chain_id, token: what the first renewal is asked in.
        wallet, beneficiary: who pays it, and who gets the membership on chain.

    """

    external_id: str
    paid_until: datetime
    anchor: datetime
    offset: int
    periods: int = 1
    network: str
    chain_id: int
    token: str
    wallet: str
    beneficiary: str


def asks_for(order: Order, terms: PlanTerms) -> bool:
    """Whether an order asks for a plan version in a quantity."""
    return (order.plan_slug, order.plan_version, order.quantity) == (*terms.key, terms.quantity)
