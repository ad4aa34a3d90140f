"""The shapes of administration's answers. A secret is shown as where it is, never as what it is."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from evmbilling.integrations.http.account_shapes import SubscriptionRow, WalletView
from evmbilling.integrations.http.shapes import AmountView, OrderView, PlanView, RefundView


class NetworkView(TypedDict):
    """A network."""

    name: str
    chain_id: int
    rpc_urls: list[str]
    testnet: bool
    native_symbol: str
    credit_after: str
    irreversible_after: str
    fallback_networks: list[str]
    max_lag: int | None
    start_block: int | None
    rpc_retries: int
    rpc_timeout: int
    gas_price_cap: str | None
    disputed_access: bool
    explorer_url: str | None
    agreement_above: dict[str, str]
    quorum: int
    allowed_contracts: list[str] | None
    allowed_tokens: list[str] | None
    version: int
    archived_at: str | None


class GatewayView(TypedDict):
    """A gateway."""

    slug: str
    provider: str
    networks: list[str]
    signer: str
    treasuries: dict[str, str]
    order_ttl: int
    credit_after: str | None
    misfits: dict[str, Any]
    relayer: str | None
    gas_ceiling: str
    version: int
    archived_at: str | None


class ContractView(TypedDict):
    """A bound contract."""

    slug: str
    network: str
    chain_id: int
    address: str
    kind: str
    has_abi: bool
    mint_method: str
    burn_method: str | None
    renew_method: str | None
    permit_method: str | None
    refund_method: str | None
    events: str | None
    pins: dict[str, str]
    webhook_secret: str | None
    fallback_rpc: list[str]
    start_block: int
    gas: dict[str, int]
    version: int
    archived_at: str | None


class AdminPlanView(TypedDict):
    """A version of a plan."""

    plan: PlanView
    gateway_slug: str
    contract_slug: str
    price_token: str | None
    dunning: dict[str, Any]
    archived_at: str | None


class ReceiptView(TypedDict):
    """A movement of money to a treasury, and where it stands."""

    receipt_id: str
    ledger_id: str | None
    user_id: str | None
    status: str
    allocation: str
    reason: str | None
    amount: AmountView
    payer: str
    treasury: str
    tx_hash: str
    ordinal: int
    block_number: int
    block_hash: str
    block_time: str
    first_seen_at: str


class AdminOrderView(TypedDict):
    """An order with the movements of money that name it."""

    order: OrderView
    user_id: str
    reference: str
    treasury: str
    contract: str
    receipts: list[ReceiptView]


class QueueItemView(TypedDict):
    """Something that a person must decide."""

    item_id: str
    kind: str
    subject: str
    reason: str
    user_id: str | None
    ledger_id: str | None
    receipt_id: str | None
    refund_id: str | None
    amount: AmountView | None
    opened_at: str
    state: str
    ruling: str | None
    decided_by: str | None
    decided_at: str | None
    note: str
    version: int


class EndpointView(TypedDict):
    """Where events are sent; of its url only the host is shown, the rest may be a key."""

    endpoint_id: str
    host: str
    events: list[str]
    ordered: bool
    secrets: int
    created_at: str
    disabled_at: str | None
    disabled_reason: str | None
    version: int


class NewEndpointView(TypedDict):
    """An endpoint with a secret that is shown this once."""

    endpoint: EndpointView
    secret: str


class DeliveryView(TypedDict):
    """One event on its way to one sink."""

    event_id: str
    sink: str
    aggregate: str
    seq: int
    state: str
    attempts: int
    next_at: str
    done_at: str | None
    status_code: int | None
    error: str | None


class AuditView(TypedDict):
    """Who did what to which object."""

    audit_id: str
    actor: str
    action: str
    object: str
    changes: dict[str, Any]
    recorded_at: str


class CustomerView(TypedDict):
    """A customer."""

    user_id: str
    zone: str
    locale: str
    created_at: str
    erased_at: str | None


class CustomerDetail(TypedDict):
    """A customer with what belongs to them."""

    customer: CustomerView
    wallets: list[WalletView]
    subscriptions: list[SubscriptionRow]
    debts: list[AmountView]
    credit: list[AmountView]
    orders: list[OrderView]


class ReaderView(TypedDict):
    """How the reader of a network stands."""

    network: str
    block: int | None
    halted: str | None
    contested_block: int | None
    contested_hash: str | None
    lag_seconds: int | None
    parked: dict[str, int]


class ResumedView(TypedDict):
    """A network goes on."""

    network: str
    accepted_block: int
    accepted_hash: str
    ancestor_block: int
    rewound: int


class TestedView(TypedDict):
    """An event was sent to an endpoint, to try it."""

    event_id: str


class NetworkList(TypedDict):
    """All networks."""

    networks: list[NetworkView]


class GatewayList(TypedDict):
    """All gateways."""

    gateways: list[GatewayView]


class ContractList(TypedDict):
    """All bound contracts."""

    contracts: list[ContractView]


class AdminPlanList(TypedDict):
    """All plans, their newest version."""

    plans: list[AdminPlanView]


class QueuePage(TypedDict):
    """A page of the finance queue."""

    items: list[QueueItemView]
    next: str | None


class RefundTransactionView(TypedDict):
    """A transaction that is named as what paid a refund in the chain's own coin.

    ``open`` until its block cannot change any more, then ``settled``; ``refused`` with its ``reason``.
    """

    refund_id: str
    tx_hash: str
    state: str
    reason: str | None
    named_by: str
    named_at: str


class RefundTransactionList(TypedDict):
    """All transactions that are named for a refund."""

    transactions: list[RefundTransactionView]


class RefundPage(TypedDict):
    """A page of refunds."""

    refunds: list[RefundView]
    next: str | None


class EndpointList(TypedDict):
    """All endpoints."""

    endpoints: list[EndpointView]


class DeliveryPage(TypedDict):
    """A page of deliveries; those of one event stay together."""

    deliveries: list[DeliveryView]
    next: str | None


class AuditList(TypedDict):
    """The newest entries of the audit."""

    entries: list[AuditView]


class CustomerPage(TypedDict):
    """A page of customers by id."""

    customers: list[CustomerView]
    next: str | None


class ReceiptList(TypedDict):
    """Money that no order could be named for."""

    receipts: list[ReceiptView]


class ReaderList(TypedDict):
    """All networks in use."""

    readers: list[ReaderView]
