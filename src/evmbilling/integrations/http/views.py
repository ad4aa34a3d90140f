"""Records as answers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from evmbilling.domain.access import Access
from evmbilling.domain.calendar import Interval, Period
from evmbilling.domain.catalogue import SubscriptionPlan
from evmbilling.domain.change_records import ChangePreview
from evmbilling.domain.customers import Wallet
from evmbilling.domain.leaving import SubscriptionView
from evmbilling.domain.mandate_offers import CancelledMandate, PreparedMandate
from evmbilling.domain.mandates import Mandate
from evmbilling.domain.money import Asset, from_base_units
from evmbilling.domain.offers import Challenge, Checkout, PayInstructions, Problem, WalletPayload
from evmbilling.domain.orders import Order
from evmbilling.domain.plan_terms import PlanTerms
from evmbilling.domain.progress import Progress
from evmbilling.domain.receipts import Refund
from evmbilling.domain.subscriptions import Debt, Subscription
from evmbilling.domain.usage import WalletChallenge
from evmbilling.engine.profile import Profile
from evmbilling.integrations.http.shapes import (
    AccessView,
    AmountView,
    AssetView,
    CancelledMandateView,
    ChallengeView,
    ChangePreviewView,
    CheckoutView,
    ConfirmationsView,
    DebtView,
    IntervalView,
    LineView,
    MandateView,
    OrderStatusView,
    OrderView,
    PayloadView,
    PeriodView,
    PlanView,
    PreparedMandateView,
    PriceView,
    ProblemView,
    ProfileView,
    RefundView,
    SubscriptionDetail,
    SubscriptionRow,
    TermsView,
    WalletChallengeView,
    WalletView,
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
        deadline=instant(offer.deadline),
        payload=payload_or_none(offer.payload),
        challenge=challenge_view(offer.challenge),
        uri=offer.uri,
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
        wallet=order.wallet,
        subscription_id=order.subscription_id,
        period=order.period,
        created_at=instant(order.created_at),
        deadline=instant(order.deadline),
        due_at=instant_or_none(order.due_at),
        confirmed_at=instant_or_none(completion.confirmed_at if completion else None),
        tx_hash=hexed(completion.tx_hash) if completion else None,
        reason=order.failure_reason,
    )


def access_view(access: Access) -> AccessView:
    """Show what a user may use."""
    return AccessView(
        allowed=access.allowed,
        reason=access.reason,
        until=instant_or_none(access.until),
        grace_until=instant_or_none(access.grace_until),
        subscription_id=access.subscription_id,
        plan=access.plan_slug,
        limits=dict(access.limits),
    )


def subscription_row(held: Subscription) -> SubscriptionRow:
    """Show a subscription in a list."""
    return SubscriptionRow(
        subscription_id=held.subscription_id,
        product=str(held.product),
        plan=held.plan_slug,
        plan_version=held.plan_version,
        quantity=held.quantity,
        status=str(held.status),
        interval=interval_view(held.interval),
        zone=held.zone,
        paid_until=instant_or_none(held.paid_until),
        trial_end=instant_or_none(held.trial_end),
        next_charge_at=instant_or_none(held.next_charge_at),
        cancel_at_period_end=held.cancel_at_period_end,
        dunning_state=held.dunning_state,
    )


def period_view(period: Period) -> PeriodView:
    """Show a period."""
    return PeriodView(index=period.index, start=instant(period.start), end=instant(period.end))


def debt_view(debt: Debt) -> DebtView:
    """Show what is owed for a period."""
    return DebtView(
        ledger_id=debt.ledger_id,
        period=debt.period,
        due_at=instant(debt.due_at),
        amount=amount_view(debt.asset, debt.amount),
    )


def subscription_detail(seen: SubscriptionView) -> SubscriptionDetail:
    """Show a subscription with its period and debts."""
    return SubscriptionDetail(
        subscription=subscription_row(seen.subscription),
        period=None if seen.period is None else period_view(seen.period),
        debts=[debt_view(debt) for debt in seen.debts],
        ends_at=instant_or_none(seen.ends_at),
    )


def terms_view(terms: PlanTerms) -> TermsView:
    """Show what a subscription is for."""
    return TermsView(
        plan=terms.plan_slug,
        plan_version=terms.plan_version,
        quantity=terms.quantity,
        interval=interval_view(terms.interval),
    )


def change_preview_view(seen: ChangePreview) -> ChangePreviewView:
    """Show what a change comes to."""
    return ChangePreviewView(
        subscription_id=seen.subscription_id,
        timing=seen.timing,
        before=terms_view(seen.before),
        after=terms_view(seen.after),
        starts_at=instant(seen.starts_at),
        pay_now=amount_view(seen.asset, seen.pay_now),
        lines=[LineView(kind=line.kind, text=line.text, base_units=str(line.amount)) for line in seen.lines],
        unused=amount_view(seen.asset, seen.unused),
        kept=amount_view(seen.asset, seen.kept),
        network=seen.network,
        next_charge_at=instant(seen.next_charge_at),
        next_amount=amount_view(seen.next_asset, seen.next_amount),
        next_network=seen.next_network,
    )


def wallet_view(wallet: Wallet) -> WalletView:
    """Show a confirmed wallet."""
    return WalletView(address=wallet.address, confirmed_at=instant(wallet.confirmed_at))


def profile_view(profile: Profile) -> ProfileView:
    """Show a user to themselves."""
    return ProfileView(
        user_id=profile.user_id,
        zone=profile.zone,
        locale=profile.locale,
        wallets=[wallet_view(wallet) for wallet in profile.wallets],
        access=access_view(profile.access),
        subscriptions=[subscription_row(held) for held in profile.subscriptions],
        debts=[amount_view(debt.asset, debt.amount) for debt in profile.debts],
        last_payment=None if profile.last_payment is None else str(profile.last_payment),
        history=[order_view(order) for order in profile.history],
    )


def wallet_challenge_view(challenge: WalletChallenge) -> WalletChallengeView:
    """Show what a wallet signs."""
    return WalletChallengeView(
        nonce=challenge.nonce,
        message=challenge.message,
        address=challenge.address,
        expires_at=instant(challenge.expires_at),
    )


def mandate_view(mandate: Mandate) -> MandateView:
    """Show a mandate to its payer."""
    return MandateView(
        mandate_id=mandate.mandate_id,
        subscription_id=mandate.subscription_id,
        status=str(mandate.status),
        plan=mandate.plan_slug,
        plan_version=mandate.plan_version,
        network=mandate.network,
        payer=mandate.payer,
        charge_cap=amount_view(mandate.asset, mandate.charge_cap),
        cap=amount_view(mandate.asset, mandate.cap),
        via=str(mandate.via),
        start=instant(mandate.start),
        expires_at=instant(mandate.expires_at),
        given_at=instant_or_none(mandate.given_at),
    )


def prepared_mandate_view(prepared: PreparedMandate) -> PreparedMandateView:
    """Show what a payer signs and sends."""
    return PreparedMandateView(
        mandate=mandate_view(prepared.mandate),
        typed_data=prepared.typed_data,
        approvals=[payload_view(payload) for payload in prepared.approvals],
        permit_typed_data=prepared.permit_typed_data,
        instead_of_permit=payload_or_none(prepared.instead_of_permit),
        instead_of_signature=payload_view(prepared.instead_of_signature),
        problems=problem_views(prepared.problems),
    )


def cancelled_mandate_view(cancelled: CancelledMandate) -> CancelledMandateView:
    """Show a mandate that is out of use."""
    return CancelledMandateView(mandate=mandate_view(cancelled.mandate), revoke=payload_or_none(cancelled.revoke))


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
