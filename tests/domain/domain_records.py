"""Records for tests of the rules: small, plausible, changed by keyword."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.identity import CreditIdentity, Product
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.receipts import Evidence, Receipt
from evmbilling.domain.selling.orders import Order, OrderLine
from evmbilling.domain.states import OrderStatus, ReceiptStatus, SubscriptionStatus
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.domain.subscriptions.dunning import DunningPolicy
from evmbilling.domain.subscriptions.subscriptions import ChangeKind, Subscription, SubscriptionChange

T0 = datetime(2026, 1, 31, 12, tzinfo=UTC)
USDC = Asset(chain_id=1, token="0x5FbDB2315678afecb367f032d93F642f64180aa3", decimals=6, symbol="USDC")
WALLET = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
CONTRACT = "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"
TREASURY = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
SITE = Product("site", "42")
ORDER, SUBSCRIPTION = "order-0", "subscription-0"


def at(days: float = 0, *, seconds: float = 0) -> datetime:
    """An instant after T0."""
    return T0 + timedelta(days=days, seconds=seconds)


def order(amount: int = 100, **changes: Any) -> Order:
    made = Order(
        ledger_id=ORDER,
        reference=b"\1" * 32,
        user_id="ann",
        product=SITE,
        plan_slug="pro",
        plan_version=1,
        gateway_slug="main",
        contract_slug="checkout",
        network="mainnet",
        asset=USDC,
        quantity=1,
        lines=(OrderLine(kind="plan", text="Pro", amount=amount),),
        amount=amount,
        wallet=WALLET,
        beneficiary=WALLET,
        contract=CONTRACT,
        treasury=TREASURY,
        gas=250_000,
        created_at=T0,
        deadline=at(seconds=1800),
    )
    return attrs.evolve(made, **changes)


def receipt(
    amount: int = 100,
    status: ReceiptStatus = ReceiptStatus.CREDITED,
    *,
    number: int = 1,
    when: datetime | None = None,
    **changes: Any,
) -> Receipt:
    """A receipt of ORDER; ``number`` gives its transaction and its place on chain."""
    moment = when or at(seconds=60 + number)
    made = Receipt(
        receipt_id=f"receipt-{number}",
        identity=CreditIdentity(1, number.to_bytes(32), 0),
        ledger_id=ORDER,
        user_id="ann",
        allocation="order",
        asset=USDC,
        amount=amount,
        payer=WALLET,
        treasury=TREASURY,
        evidence=Evidence(block_number=100 + number, block_hash=number.to_bytes(32), block_time=moment, log_index=3),
        status=status,
        first_seen_at=moment + timedelta(seconds=5),
    )
    return attrs.evolve(made, **changes)


def subscription(**changes: Any) -> Subscription:
    made = Subscription(
        subscription_id=SUBSCRIPTION,
        user_id="ann",
        product=SITE,
        plan_slug="pro",
        plan_version=1,
        interval=Interval("month"),
        quantity=1,
        zone="UTC",
        created_at=T0,
        status=SubscriptionStatus.INCOMPLETE,
    )
    return attrs.evolve(made, **changes)


def period_order(period: int, status: OrderStatus = OrderStatus.CONFIRMED, **changes: Any) -> Order:
    made = order(ledger_id=f"order-{period}", subscription_id=SUBSCRIPTION, period=period, status=status)
    return attrs.evolve(made, **changes)


def period_receipt(period: int, status: ReceiptStatus = ReceiptStatus.CREDITED, **changes: Any) -> Receipt:
    """The money of a period, in a block 31 days after that of the period before."""
    made = receipt(100, status, number=period + 1, when=at(31 * period, seconds=60), ledger_id=f"order-{period}")
    return attrs.evolve(made, **changes)


def change(kind: ChangeKind, when: datetime, *, seq: int = 1) -> SubscriptionChange:
    return SubscriptionChange(
        subscription_id=SUBSCRIPTION, seq=seq, kind=kind, effective_at=when, recorded_at=when, by="ann"
    )


def plan(**changes: Any) -> SubscriptionPlan:
    made = SubscriptionPlan(
        slug="pro",
        name="Pro",
        product=SITE,
        interval=Interval("month"),
        prices=(),
        gateway_slug="main",
        contract_slug="checkout",
        limits=(("requests", 1000), ("seats", 3)),
        features=("export",),
        dunning=DunningPolicy(grace_days=3),
    )
    return attrs.evolve(made, **changes)
