"""Subscriptions: a pinned plan version on the customer's calendar (row E5)."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from attrs import frozen

from evmbilling.domain.catalogue.plan_terms import Adoption, PlanTerms, TermsChange
from evmbilling.domain.identity import Product
from evmbilling.domain.money import Asset
from evmbilling.domain.states import SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.domain.subscriptions.periods import PeriodTable, Segment, table_of

ChangeKind = Literal[
    "cancel_at_period_end",
    "undo_cancel",
    "end",
    "pause",
    "resume",
    "suspend",
    "unsuspend",
    "expire",
    "zone",
    "change_now",
    "change_next",
    "withdraw_change",
    "adopt",
]
"""``expire`` closes a subscription that was never paid, once no payment for it can appear any more; ``zone`` gives its
calendar another zone from a period on. ``change_now`` and ``change_next`` give it other terms, within its period and
from one on; ``withdraw_change`` drops what waits of that. ``adopt`` says that it was paid elsewhere before."""


@frozen(kw_only=True)
class SubscriptionChange:
    """Something that somebody decided about a subscription; append-only, ordered by ``seq``.

    Attributes:
        period: from which period on it holds, for kinds that change the calendar; of ``resume`` the one whose beginning
            moves by as long as the pause was; of ``cancel_at_period_end`` the one with which it is over because it was
            given back, with all after it.
        paid_to: of ``resume``, the first of the delayed periods that was neither paid nor about to be: those before it
            keep their length. None when none was. Of ``cancel_at_period_end`` with a period, the first that was not
            paid.
        zone: the new IANA zone of ``zone``.
        reason: a word on why, where somebody may ask.
        terms: of ``change_now`` and ``change_next``.
        adoption: of ``adopt``.

    """

    subscription_id: str
    seq: int
    kind: ChangeKind
    effective_at: datetime
    recorded_at: datetime
    by: str
    period: int | None = None
    paid_to: int | None = None
    zone: str | None = None
    reason: str | None = None
    terms: TermsChange | None = None
    adoption: Adoption | None = None


@frozen(kw_only=True)
class Debt:
    """A period that fell due and is not paid.

    Attributes:
        ledger_id: the order that asked for it.
        due_at: when it had to be paid, however late we looked.
        amount: base units of ``asset`` that are missing.

    """

    ledger_id: str
    period: int
    due_at: datetime
    amount: int
    asset: Asset


@frozen(kw_only=True)
class Subscription:
    """A user's hold on a product; at most one live per (user, product).

    Who, what product, zone and start are pinned; the rest, the terms among it, is the projection of
    :func:`evmbilling.domain.subscriptions.standing.standing`, stored in the same transaction as the fact that moved it.

    Attributes:
        plan_slug, plan_version, interval, quantity: the terms that hold; it keeps them until it is moved to others.
        zone: IANA zone, fixed at the start.
        start_at: deferred start chosen by the user; None means with the first payment.
        trial_end: end of the trial, fixed at the start.
        anchor: where period 0 begins: the end of the trial, else None until the first order is paid.
        segments: how the calendar goes on after it was changed; empty while it never was.
        paid_periods: how many periods from the anchor on are settled without a gap: paid, or forgiven.
        paid_until: end of the last paid one of them; None when there is none.
        next_charge_at: when the next period must be paid.
        debt: base units due and unpaid now, in the asset of the oldest debt.
        dunning_state: the state of the plan's dunning policy that it is in; ``dunned_at`` when it was last told.
        chain_id: of the network on which it was last asked to be paid.
        look_at: when time may change something about it, so that the biller looks; None for never.
        looked_at: as far as the biller has been: what fell due until then is known to be paid or not.

    """

    subscription_id: str
    user_id: str
    product: Product
    plan_slug: str
    plan_version: int
    interval: Interval
    quantity: int
    zone: str
    created_at: datetime
    start_at: datetime | None = None
    trial_end: datetime | None = None
    status: SubscriptionStatus
    anchor: datetime | None = None
    segments: tuple[Segment, ...] = ()
    paid_periods: int = 0
    paid_until: datetime | None = None
    next_charge_at: datetime | None = None
    cancel_at_period_end: bool = False
    debt: int = 0
    dunning_state: str | None = None
    dunned_at: datetime | None = None
    chain_id: int | None = None
    look_at: datetime | None = None
    looked_at: datetime | None = None
    version: int = 1

    @property
    def table(self) -> PeriodTable | None:
        """Its periods; None while it has no anchor."""
        return table_of(self.anchor, self.interval, self.zone, self.segments)

    @property
    def terms(self) -> PlanTerms:
        """The terms that hold."""
        return PlanTerms(
            plan_slug=self.plan_slug,
            plan_version=self.plan_version,
            quantity=self.quantity,
            interval=self.interval,
        )

    @property
    def had_until(self) -> datetime | None:
        """Until when it was paid for or on trial; None when it never was."""
        return self.paid_until or self.trial_end

    @property
    def overdue_since(self) -> datetime | None:
        """Since when something is owed, if something is; the age of debt, which forgiving does not make younger."""
        return self.had_until
