"""Looking at one order while it is being paid."""

from __future__ import annotations

from evmbilling.domain.selling.orders import DEPOSIT, Order
from evmbilling.domain.selling.progress import Progress, confirmations, standing_receipts
from evmbilling.domain.states import OrderStatus
from evmbilling.engine.context import Ports
from evmbilling.engine.selling.orders import answer, find_order, order_provider
from evmbilling.errors import UnknownNetwork
from evmbilling.ports.storage import Unit

_NEWEST = 100


def order_progress(ports: Ports, unit: Unit, ledger_id: str, user_id: str | None) -> Progress:
    """Return an order with what stands on chain for it; see :meth:`evmbilling.engine.core.Engine.progress`."""
    order = find_order(unit, ledger_id, user_id)
    network, gateway = unit.network(order.network), unit.gateway(order.gateway_slug)
    if network is None:
        raise UnknownNetwork(field="network")
    cursor = unit.cursor(order.chain_id)
    receipts = standing_receipts(unit.receipts_of_orders([order.ledger_id]))
    finality = gateway.credit_after if gateway is not None and gateway.credit_after else network.credit_after
    newest = max(receipts, key=lambda receipt: receipt.evidence.block_number, default=None)
    return Progress(
        plan=unit.plan(order.plan_slug, order.plan_version),
        checkout=answer(order_provider(ports, unit, order), order, ports.clock.now()),
        received=sum(receipt.amount for receipt in receipts if receipt.asset == order.asset),
        seen=_seen(unit, order),
        confirmations=confirmations(receipts, finality, cursor.heights if cursor else None),
        tx_hash=newest.identity.tx_hash if newest else None,
        superseded_by=_successor(unit, order),
        explorer_url=network.explorer_url,
    )


def _seen(unit: Unit, order: Order) -> int:
    deposit = unit.deposit(order.ledger_id) if order.rail == DEPOSIT else None
    return 0 if deposit is None else deposit.held


def _successor(unit: Unit, order: Order) -> str | None:
    """Return what took a superseded order's place; it is among the newest of the same user."""
    if order.closed_as is not OrderStatus.SUPERSEDED:
        return None
    newest = unit.orders_of_user(order.user_id, limit=_NEWEST)
    return next((other.ledger_id for other in newest if other.supersedes == order.ledger_id), None)
