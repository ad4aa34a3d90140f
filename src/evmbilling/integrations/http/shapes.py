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


class RefundPayloadView(PayloadView):
    """The transaction that gives money back, and what the treasury sends before it, or null."""

    approval: PayloadView | None


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
    ``address`` is the order's own, where it has one: whatever is sent there pays it.
    While ``next`` is ``pay`` and there is no ``payload``, the wallet has to sign first: ``…/authorization`` says what.
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
    address: str | None
    pay_url: str | None
    replayed: bool


class ConfirmationsView(TypedDict):
    """How deep the payment is: blocks so far and needed; ``needed`` is null where the chain's own tag decides."""

    have: int
    needed: int | None
    rule: str


class OrderStatusView(TypedDict):
    """An order as it stands now; ``seen`` was found at its own address, and counts when it is swept from there."""

    ledger_id: str
    status: str
    next: Literal["pay", "wait", "done", "checkout_again"]
    reason: str | None
    plan: str
    product: str
    network: str
    amount: AmountView
    received: str
    seen: str
    deadline: str
    payload: PayloadView | None
    challenge: ChallengeView | None
    uri: str | None
    address: str | None
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
    wallet: str | None
    chain_id: int
    rail: str


class AuthorizationView(TypedDict):
    """What a wallet signs (EIP-712)."""

    typed_data: dict[str, Any]


class InstructionsView(TypedDict):
    """What a wallet has to do now, as the chain says."""

    payload: PayloadView | None
    approval: PayloadView | None
    problems: list[ProblemView]


class ReportView(TypedDict):
    """A report: amounts are base units beside what people read; shares are exact fractions."""

    report: str
    scope: dict[str, Any]
    data: Any


class DocumentView(TypedDict):
    """A numbered document: a receipt, a credit note or a correction."""

    number: str
    kind: str
    issued_at: str
    document: dict[str, Any]


class DocumentPage(TypedDict):
    """A page of documents, the newest number first."""

    documents: list[DocumentView]
    next: str | None


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
    wallet: str | None
    subscription_id: str | None
    period: int | None
    created_at: str
    deadline: str
    due_at: str | None
    confirmed_at: str | None
    tx_hash: str | None
    reason: str | None


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


class PlanList(TypedDict):
    """Plans that are sold now."""

    plans: list[PlanView]


class OrderPage(TypedDict):
    """A page of orders, newest first."""

    orders: list[OrderView]
    next: str | None
