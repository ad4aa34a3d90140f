"""The shapes of answers. Instants are RFC 3339 in UTC; amounts are strings of base units beside a display string."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict


class AssetView(TypedDict):
    """A coin or token on one chain; ``token`` is its address."""

    chain_id: int
    token: str
    decimals: int
    symbol: str


class AmountView(TypedDict):
    """An amount: exact base units, and as people read it."""

    asset: AssetView
    base_units: str
    display: str


class PriceView(TypedDict):
    """What a plan costs for a period, on one network."""

    network: str
    amount: AmountView


class IntervalView(TypedDict):
    """How long a period is; ``none`` sells a thing once."""

    unit: str
    count: int


class PlanView(TypedDict):
    """A plan that is sold."""

    slug: str
    version: int
    name: str
    product: str
    interval: IntervalView
    prices: list[PriceView]
    price_usd_estimate: str | None
    trial_days: int
    limits: dict[str, int]
    features: list[str]


class PayloadView(TypedDict):
    """A transaction ready for ``eth_sendTransaction``: quantities in hex (execution-apis)."""

    chainId: str
    to: str
    value: str
    data: str
    gas: str


class LineView(TypedDict):
    """One reason for a part of an amount; base units, negative for credits and discounts."""

    kind: str
    text: str
    base_units: str


class ChallengeView(TypedDict):
    """An order as EIP-712 typed data, signed by the merchant's key."""

    typed_data: dict[str, Any]
    signature: str
    signer: str


class ProblemView(TypedDict):
    """Why a payment would not go through now."""

    code: str
    text: str


class CheckoutView(TypedDict):
    """An order ready to be paid, and what has to be done.

    ``payload`` and ``challenge`` are null once it cannot be paid any more. ``approval`` is a transaction to send first.
    """

    ledger_id: str
    status: str
    next: Literal["pay", "wait", "done", "checkout_again"]
    reference: str
    amount: AmountView
    lines: list[LineView]
    network: str
    deadline: str
    payload: PayloadView | None
    approval: PayloadView | None
    problems: list[ProblemView]
    challenge: ChallengeView | None
    uri: str | None
    pay_url: str | None
    replayed: bool


class ConfirmationsView(TypedDict):
    """How deep the payment is: blocks so far and needed; ``needed`` is null where the chain's own tag decides."""

    have: int
    needed: int | None
    rule: str


class OrderStatusView(TypedDict):
    """An order as it stands now."""

    ledger_id: str
    status: str
    next: Literal["pay", "wait", "done", "checkout_again"]
    reason: str | None
    plan: str
    product: str
    network: str
    amount: AmountView
    received: str
    deadline: str
    payload: PayloadView | None
    challenge: ChallengeView | None
    uri: str | None
    tx_hash: str | None
    explorer_url: str | None
    confirmations: ConfirmationsView
    subscription_id: str | None
    superseded_by: str | None


class PayPageView(TypedDict):
    """An order as whoever holds its link sees it."""

    order: OrderStatusView
    plan_name: str
    interval: IntervalView
    quantity: int
    lines: list[LineView]
    wallet: str
    chain_id: int
    rail: str


class InstructionsView(TypedDict):
    """What a wallet has to do now, as the chain says."""

    payload: PayloadView | None
    approval: PayloadView | None
    problems: list[ProblemView]


class LinkView(TypedDict):
    """A fresh link to a fresh offer."""

    token: str
    url: str | None


class OrderView(TypedDict):
    """A line of a history."""

    ledger_id: str
    origin: str
    status: str
    plan: str
    plan_version: int
    product: str
    quantity: int
    network: str
    amount: AmountView
    wallet: str
    subscription_id: str | None
    period: int | None
    created_at: str
    deadline: str
    due_at: str | None
    confirmed_at: str | None
    tx_hash: str | None
    reason: str | None


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


class RefundView(TypedDict):
    """Money that goes back."""

    refund_id: str
    ledger_id: str | None
    user_id: str | None
    status: str
    amount: AmountView
    network: str
    treasury: str
    to: str | None
    reason: str
    failure_reason: str | None


class HintReceiptView(TypedDict):
    """A webhook was accepted: the chain will be looked at."""

    source: str
    event_id: str
    replayed: bool


class DeletedView(TypedDict):
    """Nothing more to say."""

    done: bool


class PlanList(TypedDict):
    """Plans that are sold now."""

    plans: list[PlanView]


class OrderPage(TypedDict):
    """A page of orders, newest first."""

    orders: list[OrderView]
    next: str | None


class SubscriptionList(TypedDict):
    """A user's subscriptions."""

    subscriptions: list[SubscriptionRow]


class MandateList(TypedDict):
    """A user's mandates."""

    mandates: list[MandateView]
