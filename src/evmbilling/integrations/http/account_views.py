"""What belongs to a user as answers."""

from __future__ import annotations

from evmbilling.domain.catalogue.plan_terms import PlanTerms
from evmbilling.domain.mandates.mandates import Mandate
from evmbilling.domain.mandates.offers import CancelledMandate, PreparedMandate
from evmbilling.domain.people.customers import Wallet
from evmbilling.domain.people.usage import WalletChallenge
from evmbilling.domain.subscriptions.access import Access
from evmbilling.domain.subscriptions.calendar import Period
from evmbilling.domain.subscriptions.change_records import ChangePreview
from evmbilling.domain.subscriptions.leaving import SubscriptionView
from evmbilling.domain.subscriptions.subscriptions import Debt, Subscription
from evmbilling.engine.people.profile import Profile
from evmbilling.integrations.http.account_shapes import (
    AccessView,
    CancelledMandateView,
    ChangePreviewView,
    DebtView,
    MandateView,
    PeriodView,
    PreparedMandateView,
    ProfileView,
    SubscriptionDetail,
    SubscriptionRow,
    TermsView,
    WalletChallengeView,
    WalletView,
)
from evmbilling.integrations.http.shapes import LineView
from evmbilling.integrations.http.views import (
    amount_view,
    instant,
    instant_or_none,
    interval_view,
    order_view,
    payload_or_none,
    payload_view,
    problem_views,
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
