"""Rows of administration as answers."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from evmbilling.domain.catalogue.catalogue import Network, PaymentContract, PaymentGateway, SubscriptionPlan
from evmbilling.domain.catalogue.simulations import UNCHECKED, Simulation
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.messages.messages import Delivery, WebhookEndpoint
from evmbilling.domain.payments.finance import QueueItem
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.people.customers import Customer
from evmbilling.domain.refunds.proofs import RefundProof
from evmbilling.domain.selling.offers import Checkout
from evmbilling.engine.admin.audit_facts import row_facts
from evmbilling.engine.reading.halts import NetworkStatus, Resumed
from evmbilling.integrations.http.admin_shapes import (
    AdminOrderView,
    AdminPlanView,
    AuditView,
    ContractView,
    CustomerView,
    DeliveryView,
    EndpointView,
    GatewayView,
    NetworkView,
    QueueItemView,
    ReaderView,
    ReceiptView,
    RefundTransactionView,
    ResumedView,
)
from evmbilling.integrations.http.simulation_shapes import (
    AllowedView,
    MappedEventView,
    SimulatedEventView,
    SimulationView,
)
from evmbilling.integrations.http.views import (
    amount_view,
    hexed,
    instant,
    instant_or_none,
    order_view,
    payload_view,
    plan_view,
)


def network_view(network: Network) -> NetworkView:
    """Show a network."""
    return NetworkView(
        name=network.name,
        chain_id=network.chain_id,
        rpc_urls=[str(ref) for ref in network.rpc_urls],
        testnet=network.testnet,
        native_symbol=network.native_symbol,
        credit_after=str(network.credit_after),
        irreversible_after=str(network.irreversible_after),
        fallback_networks=list(network.fallback_networks),
        max_lag=network.max_lag,
        start_block=network.start_block,
        rpc_retries=network.rpc_retries,
        rpc_timeout=network.rpc_timeout,
        gas_price_cap=None if network.gas_price_cap is None else str(network.gas_price_cap),
        disputed_access=network.disputed_access,
        explorer_url=network.explorer_url,
        agreement_above={symbol: str(amount) for symbol, amount in network.agreement_above},
        quorum=network.quorum,
        allowed_contracts=None if network.allowed_contracts is None else list(network.allowed_contracts),
        allowed_tokens=None if network.allowed_tokens is None else list(network.allowed_tokens),
        version=network.version,
        archived_at=instant_or_none(network.archived_at),
    )


def gateway_view(gateway: PaymentGateway) -> GatewayView:
    """Show a gateway."""
    return GatewayView(
        slug=gateway.slug,
        provider=gateway.provider,
        networks=list(gateway.networks),
        signer=str(gateway.signer),
        treasuries=dict(gateway.treasuries),
        order_ttl=gateway.order_ttl,
        credit_after=None if gateway.credit_after is None else str(gateway.credit_after),
        misfits=_facts(gateway.misfits),
        relayer=None if gateway.relayer is None else str(gateway.relayer),
        gas_ceiling=str(gateway.gas_ceiling),
        version=gateway.version,
        archived_at=instant_or_none(gateway.archived_at),
    )


def contract_view(contract: PaymentContract) -> ContractView:
    """Show a binding."""
    return ContractView(
        slug=contract.slug,
        network=contract.network,
        chain_id=contract.chain_id,
        address=contract.address,
        kind=contract.kind,
        has_abi=contract.abi is not None,
        mint_method=contract.mint_method,
        burn_method=contract.burn_method,
        renew_method=contract.renew_method,
        permit_method=contract.permit_method,
        refund_method=contract.refund_method,
        events=contract.events,
        pins=dict(contract.pins),
        webhook_secret=None if contract.webhook_secret is None else str(contract.webhook_secret),
        fallback_rpc=[str(ref) for ref in contract.fallback_rpc],
        start_block=contract.start_block,
        gas=dict(contract.gas),
        version=contract.version,
        archived_at=instant_or_none(contract.archived_at),
    )


def simulation_view(found: Simulation) -> SimulationView:
    """Show what a dry run found."""
    return SimulationView(
        payload=payload_view(found.payload),
        approval=None if found.approval is None else _allowed(*found.approval),
        succeeds=found.succeeds,
        refusal=found.refusal,
        gas=found.gas,
        offered_gas=dict(found.offered_gas),
        stand_in=found.stand_in,
        pays=found.pays,
        unchecked={word: UNCHECKED[word] for word in found.unchecked},
        events=[
            SimulatedEventView(address=one.address, event=one.event, means=one.means, fields=dict(one.fields))
            for one in found.events
        ],
        mapped=[MappedEventView(event=event, means=means) for event, means in found.mapped],
    )


def _allowed(spender: str, amount: int) -> AllowedView:
    return AllowedView(spender=spender, base_units=str(amount))


def admin_plan_view(plan: SubscriptionPlan) -> AdminPlanView:
    """Show a version of a plan."""
    return AdminPlanView(
        plan=plan_view(plan),
        gateway_slug=plan.gateway_slug,
        contract_slug=plan.contract_slug,
        price_token=plan.price_token,
        dunning=_facts(plan.dunning),
        archived_at=instant_or_none(plan.archived_at),
    )


def receipt_view(receipt: Receipt) -> ReceiptView:
    """Show a movement of money."""
    return ReceiptView(
        receipt_id=receipt.receipt_id,
        ledger_id=receipt.ledger_id,
        user_id=receipt.user_id,
        status=str(receipt.status),
        allocation=receipt.allocation,
        reason=receipt.reason,
        amount=amount_view(receipt.asset, receipt.amount),
        payer=receipt.payer,
        treasury=receipt.treasury,
        tx_hash=hexed(receipt.identity.tx_hash),
        ordinal=receipt.identity.ordinal,
        block_number=receipt.evidence.block_number,
        block_hash=hexed(receipt.evidence.block_hash),
        block_time=instant(receipt.evidence.block_time),
        first_seen_at=instant(receipt.first_seen_at),
    )


def admin_order_view(offer: Checkout, receipts: list[Receipt]) -> AdminOrderView:
    """Show an order with its money."""
    order = offer.order
    return AdminOrderView(
        order=order_view(order),
        user_id=order.user_id,
        reference=hexed(order.reference),
        treasury=order.treasury,
        contract=order.contract,
        receipts=[receipt_view(receipt) for receipt in receipts],
    )


def queue_item_view(item: QueueItem) -> QueueItemView:
    """Show what a person must decide."""
    return QueueItemView(
        item_id=item.item_id,
        kind=item.kind,
        subject=item.subject,
        reason=item.reason,
        user_id=item.user_id,
        ledger_id=item.ledger_id,
        receipt_id=item.receipt_id,
        refund_id=item.refund_id,
        amount=None if item.asset is None else amount_view(item.asset, item.amount),
        opened_at=instant(item.opened_at),
        state=item.state,
        ruling=item.ruling,
        decided_by=item.decided_by,
        decided_at=instant_or_none(item.decided_at),
        note=item.note,
        version=item.version,
    )


def refund_transaction_view(proof: RefundProof) -> RefundTransactionView:
    """Show a transaction that is named for a refund."""
    return RefundTransactionView(
        refund_id=proof.refund_id,
        tx_hash="0x" + proof.tx_hash.hex(),
        state=proof.state,
        reason=proof.reason,
        named_by=proof.named_by,
        named_at=instant(proof.named_at),
    )


def endpoint_view(endpoint: WebhookEndpoint) -> EndpointView:
    """Show an endpoint, without what may be a key."""
    return EndpointView(
        endpoint_id=endpoint.endpoint_id,
        host=urlsplit(endpoint.url).netloc.rpartition("@")[2],
        events=list(endpoint.events),
        ordered=endpoint.ordered,
        secrets=len(endpoint.secrets),
        created_at=instant(endpoint.created_at),
        disabled_at=instant_or_none(endpoint.disabled_at),
        disabled_reason=endpoint.disabled_reason,
        version=endpoint.version,
    )


def delivery_view(delivery: Delivery) -> DeliveryView:
    """Show an event on its way."""
    return DeliveryView(
        event_id=delivery.event_id,
        sink=delivery.sink,
        aggregate=delivery.aggregate,
        seq=delivery.seq,
        state=delivery.state,
        attempts=delivery.attempts,
        next_at=instant(delivery.next_at),
        done_at=instant_or_none(delivery.done_at),
        status_code=delivery.status_code,
        error=delivery.error,
    )


def audit_view(entry: AuditEntry) -> AuditView:
    """Show who did what."""
    return AuditView(
        audit_id=entry.audit_id,
        actor=entry.actor,
        action=entry.action,
        object=entry.object,
        changes=entry.changes,
        recorded_at=instant(entry.recorded_at),
    )


def customer_view(customer: Customer) -> CustomerView:
    """Show a customer."""
    return CustomerView(
        user_id=customer.user_id,
        zone=customer.zone,
        locale=customer.locale,
        created_at=instant(customer.created_at),
        erased_at=instant_or_none(customer.erased_at),
    )


def reader_view(status: NetworkStatus) -> ReaderView:
    """Show how a network's reader stands."""
    cursor, contested = status.cursor, status.contested
    return ReaderView(
        network=status.network.name,
        block=None if cursor is None else cursor.block.number,
        halted=None if cursor is None or cursor.halt is None else cursor.halt.reason,
        contested_block=None if contested is None else contested.number,
        contested_hash=None if contested is None else hexed(contested.hash),
        lag_seconds=None if status.lag is None else int(status.lag.total_seconds()),
        parked=dict(status.parked),
    )


def resumed_view(resumed: Resumed) -> ResumedView:
    """Show that a network goes on."""
    return ResumedView(
        network=resumed.network,
        accepted_block=resumed.accepted.number,
        accepted_hash=hexed(resumed.accepted.hash),
        ancestor_block=resumed.ancestor.number,
        rewound=resumed.rewound,
    )


def _facts(row: Any) -> dict[str, Any]:
    """Return a policy as JSON values; it holds no secret."""
    facts: dict[str, Any] = json.loads(json.dumps(row_facts(row, str)))
    return facts
