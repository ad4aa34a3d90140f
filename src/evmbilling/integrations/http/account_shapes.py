"""The shapes of what belongs to a user: access, subscriptions, wallets, mandates."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from evmbilling.integrations.http.shapes import (
    AmountView,
    CheckoutView,
    IntervalView,
    LineView,
    OrderView,
    PayloadView,
    ProblemView,
)


class AccessView(TypedDict):
    """May the user use this now, until when, and why not."""

    allowed: bool
    reason: str
    until: str | None
    grace_until: str | None
    subscription_id: str | None
    plan: str | None
    limits: dict[str, int]


class DebtView(TypedDict):
    """A period that fell due and is not paid."""

    ledger_id: str
    period: int
    due_at: str
    amount: AmountView


class PeriodView(TypedDict):
    """A period, half-open."""

    index: int
    start: str
    end: str


class SubscriptionRow(TypedDict):
    """A subscription as a list shows it."""

    subscription_id: str
    product: str
    plan: str
    plan_version: int
    quantity: int
    status: str
    interval: IntervalView
    zone: str
    paid_until: str | None
    trial_end: str | None
    next_charge_at: str | None
    cancel_at_period_end: bool
    dunning_state: str | None


class SubscriptionDetail(TypedDict):
    """A subscription with its running period and what is owed."""

    subscription: SubscriptionRow
    period: PeriodView | None
    debts: list[DebtView]
    ends_at: str | None


class TermsView(TypedDict):
    """What a subscription is for."""

    plan: str
    plan_version: int
    quantity: int
    interval: IntervalView


class ChangePreviewView(TypedDict):
    """What a change comes to: what has to be paid now, what of the paid time counts, and what is asked for next."""

    subscription_id: str
    timing: Literal["now", "next_period"]
    before: TermsView
    after: TermsView
    starts_at: str
    pay_now: AmountView
    lines: list[LineView]
    unused: AmountView
    kept: AmountView
    network: str
    next_charge_at: str
    next_amount: AmountView
    next_network: str


class ChangeView(TypedDict):
    """The answer to a change: ``order`` has to be paid for it now; null when nothing has to be."""

    subscription: SubscriptionDetail
    preview: ChangePreviewView
    order: CheckoutView | None


class WalletView(TypedDict):
    """An address that the user has proved to control."""

    address: str
    confirmed_at: str


class ProfileView(TypedDict):
    """Everything that an account page shows."""

    user_id: str
    zone: str
    locale: str
    wallets: list[WalletView]
    access: AccessView
    subscriptions: list[SubscriptionRow]
    debts: list[AmountView]
    last_payment: str | None
    history: list[OrderView]


class WalletChallengeView(TypedDict):
    """A text (EIP-4361) to be signed by the wallet, once."""

    nonce: str
    message: str
    address: str
    expires_at: str


class MandateView(TypedDict):
    """What a payer allows to be taken."""

    mandate_id: str
    subscription_id: str
    status: str
    plan: str
    plan_version: int
    network: str
    payer: str
    charge_cap: AmountView
    cap: AmountView
    via: str
    start: str
    expires_at: str
    given_at: str | None


class PreparedMandateView(TypedDict):
    """What the payer signs and sends so that charges can be pulled."""

    mandate: MandateView
    typed_data: dict[str, Any]
    approvals: list[PayloadView]
    permit_typed_data: dict[str, Any] | None
    instead_of_permit: PayloadView | None
    instead_of_signature: PayloadView
    problems: list[ProblemView]


class CancelledMandateView(TypedDict):
    """A mandate out of use, and the transaction that ends it on chain too."""

    mandate: MandateView
    revoke: PayloadView | None


class SubscriptionList(TypedDict):
    """A user's subscriptions."""

    subscriptions: list[SubscriptionRow]


class MandateList(TypedDict):
    """A user's mandates."""

    mandates: list[MandateView]
