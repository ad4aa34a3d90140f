"""What an order that is paid at an address of its own needs when it is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from evmbilling.domain.decisions import Decision, OpenOrder, StoreDeposit
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.payments.receipts import Receipt
from evmbilling.domain.selling.deposits import deposit_address, is_arriving, open_deposit
from evmbilling.domain.selling.offering import NOBODY, CheckoutRequest, Offer
from evmbilling.domain.selling.orders import DEPOSIT, Order
from evmbilling.domain.selling.progress import standing_receipts
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.errors import InvalidAddress
from evmbilling.ports.storage import Unit


def check_payer(request: CheckoutRequest, offer: Offer) -> Offer:
    """Return an offer that a request can take up.

    Raises:
        InvalidAddress: it has to be paid from a wallet, and none was named.

    """
    if request.wallet == NOBODY and offer.contract.kind != DEPOSIT:
        raise InvalidAddress("this is paid from a wallet: say which", field="wallet")
    return offer


def opening(order: Order, policy: MisfitPolicy, now: datetime) -> Sequence[Decision]:
    """Return the decisions that open an order, with its deposit address where it has one."""
    if order.rail != DEPOSIT:
        return [OpenOrder(order)]
    return [OpenOrder(order), StoreDeposit(open_deposit(order, policy, now))]


def arriving_periods(unit: Unit, orders: Iterable[Order], receipts: Sequence[Receipt]) -> frozenset[int]:
    """Return the periods whose price lies at a deposit address, as far as anybody has looked."""
    found: set[int] = set()
    for order in orders:
        if order.rail != DEPOSIT or order.period is None or order.status in PAID_ORDERS:
            continue
        deposit = unit.deposit(order.ledger_id)
        own = standing_receipts([r for r in receipts if r.ledger_id == order.ledger_id])
        received = sum(receipt.amount for receipt in own if receipt.asset == order.asset)
        if deposit is not None and is_arriving(deposit, order, received):
            found.add(order.period)
    return frozenset(found)


def policy_of(unit: Unit, order: Order) -> MisfitPolicy:
    """Return what happens to misfits of an order by its gateway's policy."""
    gateway = unit.gateway(order.gateway_slug) if order.rail == DEPOSIT else None
    return MisfitPolicy() if gateway is None else gateway.misfits


def address_of(order: Order) -> str | None:
    """Return where anybody can send the money for an order; None where it has no address of its own."""
    return deposit_address(order.contract, order.reference, order.treasury) if order.rail == DEPOSIT else None
