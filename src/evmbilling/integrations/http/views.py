"""Records as answers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.money import Asset, from_base_units
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.selling.offering import NOBODY
from evmbilling.domain.selling.offers import (
    Challenge,
    Checkout,
    PayInstructions,
    PreparedRefund,
    Problem,
    WalletPayload,
)
from evmbilling.domain.selling.orders import Order
from evmbilling.domain.selling.progress import Progress
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.integrations.http.shapes import (
    AmountView,
    AssetView,
    ChallengeView,
    CheckoutView,
    ConfirmationsView,
    IntervalView,
    LineView,
    OrderStatusView,
    OrderView,
    PayloadView,
    PlanView,
    PriceView,
    ProblemView,
    RefundPayloadView,
    RefundView,
)


def instant(moment: datetime) -> str:
    """Write an instant in UTC (RFC 3339)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def instant_or_none(moment: datetime | None) -> str | None:
    """Write an instant that may be absent."""
    return None if moment is None else instant(moment)


def hexed(value: bytes) -> str:
    """Write bytes as hex."""
    return "0x" + value.hex()


def asset_view(asset: Asset) -> AssetView:
    """Show an asset."""
    return AssetView(chain_id=asset.chain_id, token=asset.token, decimals=asset.decimals, symbol=asset.symbol)


def amount_view(asset: Asset, amount: int) -> AmountView:
    """Show an amount of an asset."""
    return AmountView(
        asset=asset_view(asset), base_units=str(amount), display=f"{_display(amount, asset)} {asset.symbol}"
    )


def _display(amount: int, asset: Asset) -> str:
    sign = "-" if amount < 0 else ""
    return sign + from_base_units(abs(amount), asset.decimals)


def interval_view(interval: Interval) -> IntervalView:
    """Show an interval."""
    return IntervalView(unit=interval.unit, count=interval.count)


def plan_view(plan: SubscriptionPlan) -> PlanView:
    """Show a plan to customers."""
    estimate = plan.price_usd_estimate
    return PlanView(
        slug=plan.slug,
        version=plan.version,
        name=plan.name,
        product=str(plan.product),
        interval=interval_view(plan.interval),
        prices=[PriceView(network=p.network, amount=amount_view(p.asset, p.amount)) for p in plan.prices],
        price_usd_estimate=None if estimate is None else f"{estimate.amount} {estimate.currency} ({estimate.as_of})",
        trial_days=plan.trial_days,
        limits=dict(plan.limits),
        features=list(plan.features),
    )


def payload_view(payload: WalletPayload) -> PayloadView:
    """Show a transaction as a wallet takes it."""
    call = payload.as_rpc()
    return PayloadView(chainId=call["chainId"], to=call["to"], value=call["value"], data=call["data"], gas=call["gas"])


def refund_payload_view(prepared: PreparedRefund) -> RefundPayloadView:
    """Show what the treasury sends to give money back."""
    return RefundPayloadView(**payload_view(prepared), approval=payload_or_none(prepared.approval))


def payload_or_none(payload: WalletPayload | None) -> PayloadView | None:
    """Show a transaction that may be absent."""
    return None if payload is None else payload_view(payload)


def problem_views(problems: Iterable[Problem]) -> list[ProblemView]:
    """Show what stands in the way."""
    return [ProblemView(code=problem.code, text=problem.text) for problem in problems]


def challenge_view(challenge: Challenge | None) -> ChallengeView | None:
    """Show a signed challenge."""
    if challenge is None:
        return None
    return ChallengeView(typed_data=challenge.typed_data, signature=hexed(challenge.signature), signer=challenge.signer)


def checkout_view(offer: Checkout, instructions: PayInstructions | None, pay_url: str | None) -> CheckoutView:
    """Show an offer with what the chain says about paying it."""
    return CheckoutView(
        ledger_id=offer.ledger_id,
        status=str(offer.status),
        next=offer.next,
        reference=hexed(offer.reference),
        amount=amount_view(offer.asset, offer.amount),
        lines=[LineView(kind=line.kind, text=line.text, base_units=str(line.amount)) for line in offer.lines],
        network=offer.order.network,
        deadline=instant(offer.deadline),
        payload=payload_or_none(offer.payload),
        approval=payload_or_none(instructions.approval if instructions else None),
        problems=problem_views(instructions.problems if instructions else ()),
        challenge=challenge_view(offer.challenge),
        uri=offer.uri,
        address=offer.address,
        pay_url=pay_url,
        replayed=offer.replayed,
    )


def order_status_view(progress: Progress) -> OrderStatusView:
    """Show an order on its way."""
    offer, order = progress.checkout, progress.checkout.order
    seen = progress.tx_hash
    explorer = progress.explorer_url
    return OrderStatusView(
        ledger_id=offer.ledger_id,
        status=str(offer.status),
        next=offer.next,
        reason=order.failure_reason,
        plan=order.plan_slug,
        product=str(order.product),
        network=order.network,
        amount=amount_view(offer.asset, offer.amount),
        received=str(progress.received),
        seen=str(progress.seen),
        deadline=instant(offer.deadline),
        payload=payload_or_none(offer.payload),
        challenge=challenge_view(offer.challenge),
        uri=offer.uri,
        address=offer.address,
        tx_hash=None if seen is None else hexed(seen),
        explorer_url=None if explorer is None or seen is None else f"{explorer.rstrip('/')}/tx/{hexed(seen)}",
        confirmations=ConfirmationsView(
            have=progress.confirmations.have,
            needed=progress.confirmations.needed,
            rule=progress.confirmations.rule,
        ),
        subscription_id=order.subscription_id,
        superseded_by=progress.superseded_by,
    )


def payer_or_none(order: Order) -> str | None:
    """Show which wallet pays an order; null where anybody may, from anywhere."""
    return None if order.wallet == NOBODY else order.wallet


def order_view(order: Order) -> OrderView:
    """Show a line of a history."""
    completion = order.completion
    return OrderView(
        ledger_id=order.ledger_id,
        origin=order.origin,
        status=str(order.status),
        plan=order.plan_slug,
        plan_version=order.plan_version,
        product=str(order.product),
        quantity=order.quantity,
        network=order.network,
        amount=amount_view(order.asset, order.amount),
        wallet=payer_or_none(order),
        subscription_id=order.subscription_id,
        period=order.period,
        created_at=instant(order.created_at),
        deadline=instant(order.deadline),
        due_at=instant_or_none(order.due_at),
        confirmed_at=instant_or_none(completion.confirmed_at if completion else None),
        tx_hash=hexed(completion.tx_hash) if completion else None,
        reason=order.failure_reason,
    )


def refund_view(refund: Refund) -> RefundView:
    """Show money that goes back."""
    return RefundView(
        refund_id=refund.refund_id,
        ledger_id=refund.ledger_id,
        user_id=refund.user_id,
        status=str(refund.status),
        amount=amount_view(refund.asset, refund.amount),
        network=refund.network,
        treasury=refund.treasury,
        to=refund.address,
        reason=refund.reason,
        failure_reason=refund.failure_reason,
    )
