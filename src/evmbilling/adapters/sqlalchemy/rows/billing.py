"""Rows of customers, entitlements and orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evmbilling.domain.identity import Product
from evmbilling.domain.money import Asset
from evmbilling.domain.people.customers import Customer, Wallet
from evmbilling.domain.selling.orders import DEPOSIT, Completion, KeyRecord, ManualMark, Order, OrderCall, OrderLine
from evmbilling.domain.states import OrderStatus
from evmbilling.domain.subscriptions.access import Entitlement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evmbilling.adapters.sqlalchemy.rows.catalogue import Row, Values
    from evmbilling.domain.selling.orders import Rail


def customer_values(customer: Customer) -> Values:
    """Write a customer."""
    return {
        "user_id": customer.user_id,
        "zone": customer.zone,
        "locale": customer.locale,
        "created_at": customer.created_at,
        "event_seq": customer.event_seq,
        "version": customer.version,
        "erased_at": customer.erased_at,
    }


def read_customer(row: Row) -> Customer:
    """Read a customer."""
    return Customer(
        user_id=row.user_id,
        zone=row.zone,
        locale=row.locale,
        created_at=row.created_at,
        event_seq=row.event_seq,
        version=row.version,
        erased_at=row.erased_at,
    )


def wallet_values(wallet: Wallet) -> Values:
    """Write a confirmed wallet."""
    return {
        "user_id": wallet.user_id,
        "address": wallet.address,
        "confirmed_at": wallet.confirmed_at,
        "chains": None if wallet.chains is None else list(wallet.chains),
    }


def read_wallet(row: Row) -> Wallet:
    """Read a confirmed wallet."""
    return Wallet(
        user_id=row.user_id,
        address=row.address,
        confirmed_at=row.confirmed_at,
        chains=None if row.chains is None else tuple(row.chains),
    )


def entitlement_values(entitlement: Entitlement) -> Values:
    """Write an entitlement."""
    return {
        "user_id": entitlement.user_id,
        "product_type": entitlement.product.type,
        "product_id": entitlement.product.id,
        "source_id": entitlement.source_id,
        "subscription_id": entitlement.subscription_id,
        "plan_slug": entitlement.plan_slug,
        "plan_version": entitlement.plan_version,
        "basis": entitlement.basis,
        "starts_at": entitlement.starts_at,
        "until": entitlement.until,
        "grace_until": entitlement.grace_until,
        "limits": [list(pair) for pair in entitlement.limits],
        "features": list(entitlement.features),
        "disputed": entitlement.disputed,
        "told": entitlement.told,
    }


def read_entitlement(row: Row) -> Entitlement:
    """Read an entitlement."""
    return Entitlement(
        user_id=row.user_id,
        product=Product(row.product_type, row.product_id),
        source_id=row.source_id,
        subscription_id=row.subscription_id,
        plan_slug=row.plan_slug,
        plan_version=row.plan_version,
        basis=row.basis,
        starts_at=row.starts_at,
        until=row.until,
        grace_until=row.grace_until,
        limits=tuple((name, limit) for name, limit in row.limits),
        features=tuple(row.features),
        disputed=row.disputed,
        told=row.told,
    )


_RAIL_WORDS: Mapping[Rail, Rail] = {"call": "checkout", DEPOSIT: "erc20"}
"""The word of the column stays where a rail came later: a call goes through a contract as a signed order does, and a
deposit is sent to an address as a plain transfer is. What is called, and at which contract, tells."""


def _read_rail(row: Row) -> Rail:
    if row.call is not None:
        return "call"
    found: Rail = row.rail
    # A plain transfer is a call of the token itself, a deposit address belongs to the contract that sweeps it.
    return DEPOSIT if found == "erc20" and row.contract != row.token else found


def order_values(order: Order) -> Values:
    """Write an order: its facts and its projection."""
    return {
        "ledger_id": order.ledger_id,
        "reference": order.reference,
        "user_id": order.user_id,
        "origin": order.origin,
        "product_type": order.product.type,
        "product_id": order.product.id,
        "plan_slug": order.plan_slug,
        "plan_version": order.plan_version,
        "subscription_id": order.subscription_id,
        "period": order.period,
        "gateway_slug": order.gateway_slug,
        "contract_slug": order.contract_slug,
        "network": order.network,
        "chain_id": order.asset.chain_id,
        "token": order.asset.token,
        "decimals": order.asset.decimals,
        "symbol": order.asset.symbol,
        "quantity": order.quantity,
        "lines": [{"kind": line.kind, "text": line.text, "amount": str(line.amount)} for line in order.lines],
        "amount": order.amount,
        "wallet": order.wallet,
        "beneficiary": order.beneficiary,
        "contract": order.contract,
        "treasury": order.treasury,
        "gas": order.gas,
        "created_at": order.created_at,
        "deadline": order.deadline,
        "member_until": order.member_until,
        "signer": order.signer,
        "signature": order.signature,
        "supersedes": order.supersedes,
        "rail": _RAIL_WORDS.get(order.rail, order.rail),
        "call": None if order.call is None else _call(order.call),
        "mark": (order.call.mark or None) if order.call is not None else None,
        "tolerance": order.tolerance,
        "due_at": order.due_at,
        **order_projection(order),
    }


def _call(call: OrderCall) -> Values:
    return {
        "value": str(call.value),
        "data": "0x" + call.data.hex(),
        "spender": call.spender,
        "approve": str(call.approve),
    }


def _read_call(row: Row) -> OrderCall:
    stored = row.call
    return OrderCall(
        value=int(stored["value"]),
        data=bytes.fromhex(stored["data"][2:]),
        spender=stored["spender"],
        approve=int(stored["approve"]),
        mark=row.mark or b"",
    )


def order_projection(order: Order) -> Values:
    """Write what a payment, a reorg or a closure changes."""
    paid, manual = order.completion, order.manual
    return {
        "status": order.status,
        "closed_as": order.closed_as,
        "tx_hash": None if paid is None else paid.tx_hash,
        "log_index": None if paid is None else paid.log_index,
        "block_number": None if paid is None else paid.block_number,
        "block_hash": None if paid is None else paid.block_hash,
        "confirmed_at": None if paid is None else paid.confirmed_at,
        "failure_reason": order.failure_reason,
        "external_id": order.external_id,
        "manual_by": None if manual is None else manual.by,
        "manual_at": None if manual is None else manual.at,
        "manual_reason": None if manual is None else manual.reason,
        "claim": order.claim,
        "pull": order.pull,
        "attempts": order.attempts,
        "attempted_at": order.attempted_at,
        "retry_at": order.retry_at,
        "reminded_at": order.reminded_at,
        "version": order.version,
    }


def _read_completion(row: Row) -> Completion | None:
    if row.tx_hash is None:
        return None
    return Completion(
        tx_hash=row.tx_hash,
        log_index=row.log_index,
        block_number=row.block_number,
        block_hash=row.block_hash,
        confirmed_at=row.confirmed_at,
    )


def _read_manual(row: Row) -> ManualMark | None:
    if row.manual_by is None:
        return None
    return ManualMark(by=row.manual_by, at=row.manual_at, reason=row.manual_reason)


def read_order(row: Row) -> Order:
    """Read an order."""
    return Order(
        ledger_id=row.ledger_id,
        reference=row.reference,
        user_id=row.user_id,
        origin=row.origin,
        product=Product(row.product_type, row.product_id),
        plan_slug=row.plan_slug,
        plan_version=row.plan_version,
        subscription_id=row.subscription_id,
        period=row.period,
        gateway_slug=row.gateway_slug,
        contract_slug=row.contract_slug,
        network=row.network,
        asset=read_asset(row),
        quantity=row.quantity,
        lines=tuple(OrderLine(kind=line["kind"], text=line["text"], amount=int(line["amount"])) for line in row.lines),
        amount=row.amount,
        wallet=row.wallet,
        beneficiary=row.beneficiary,
        contract=row.contract,
        treasury=row.treasury,
        gas=row.gas,
        created_at=row.created_at,
        deadline=row.deadline,
        member_until=row.member_until,
        signer=row.signer,
        signature=row.signature,
        status=OrderStatus(row.status),
        closed_as=None if row.closed_as is None else OrderStatus(row.closed_as),
        supersedes=row.supersedes,
        completion=_read_completion(row),
        failure_reason=row.failure_reason,
        external_id=row.external_id,
        rail=_read_rail(row),
        call=None if row.call is None else _read_call(row),
        manual=_read_manual(row),
        tolerance=row.tolerance,
        due_at=row.due_at,
        claim=row.claim,
        pull=row.pull,
        attempts=row.attempts,
        attempted_at=row.attempted_at,
        retry_at=row.retry_at,
        reminded_at=row.reminded_at,
        version=row.version,
    )


def asset_values(asset: Asset) -> Values:
    """Write the asset that a row's amount is counted in."""
    return {"chain_id": asset.chain_id, "token": asset.token, "decimals": asset.decimals, "symbol": asset.symbol}


def read_asset(row: Row) -> Asset:
    """Read the asset that a row's amount is counted in."""
    return Asset(chain_id=row.chain_id, token=row.token, decimals=row.decimals, symbol=row.symbol)


def key_values(record: KeyRecord) -> Values:
    """Write an idempotency key."""
    return {
        "operation": record.operation,
        "user_id": record.user_id,
        "key": record.key,
        "fingerprint": record.fingerprint,
        "ledger_id": record.ledger_id,
        "created_at": record.created_at,
    }


def read_key(row: Row) -> KeyRecord:
    """Read an idempotency key."""
    return KeyRecord(
        operation=row.operation,
        user_id=row.user_id,
        key=row.key,
        fingerprint=row.fingerprint,
        ledger_id=row.ledger_id,
        created_at=row.created_at,
    )
