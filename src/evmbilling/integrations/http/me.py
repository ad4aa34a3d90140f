"""What belongs to the user who asks: profile, subscriptions, wallets, mandates, refunds."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from evmbilling.domain.money import parse_base_units
from evmbilling.errors import (
    AlreadyExists,
    BillingError,
    ChallengeRefused,
    ConfigurationError,
    Conflict,
    IllegalTransition,
    NotFound,
    RpcUnavailable,
    UnknownAsset,
    UnknownNetwork,
)
from evmbilling.integrations.http.account_shapes import (
    AccessView,
    CancelledMandateView,
    ChangePreviewView,
    ChangeView,
    MandateList,
    MandateView,
    PreparedMandateView,
    ProfileView,
    SubscriptionDetail,
    SubscriptionList,
    WalletChallengeView,
    WalletView,
)
from evmbilling.integrations.http.account_views import (
    access_view,
    cancelled_mandate_view,
    change_preview_view,
    mandate_view,
    prepared_mandate_view,
    profile_view,
    subscription_detail,
    subscription_row,
    wallet_challenge_view,
    wallet_view,
)
from evmbilling.integrations.http.bodies import (
    Body,
    CancelBody,
    ChangeBody,
    EmptyBody,
    GiveMandateBody,
    PauseBody,
    PrepareMandateBody,
    RefundAddressBody,
    WalletChallengeBody,
    WalletProofBody,
    ZoneBody,
)
from evmbilling.integrations.http.problems import InvalidBody
from evmbilling.integrations.http.reading import query_of, read_hex, read_hex_or_none, read_instant
from evmbilling.integrations.http.ready import ready_to_pay
from evmbilling.integrations.http.routes import SOLD, Call, H, Parameter, RouteTable
from evmbilling.integrations.http.shapes import RefundView
from evmbilling.integrations.http.views import refund_view

PROVED = (ChallengeRefused, Conflict, AlreadyExists, RpcUnavailable)
"""What can be wrong with a wallet's signature."""
me = RouteTable("me", access="user", prefix="/me")


@me.get("", answer=ProfileView)
def get_me(call: Call) -> ProfileView:
    """Everything that an account page shows."""
    return profile_view(call.engine.profile(call.user))


@me.get(
    "/access",
    answer=AccessView,
    parameters=(
        Parameter(name="product", text='`"type"` or `"type/id"`; any product when left out.', example="api"),
        Parameter(name="feature", text="A feature of the plan.", example="export"),
    ),
)
def get_access(call: Call) -> AccessView:
    """May the user use this now, until when, and why not."""
    found = call.engine.access(call.user, product=query_of(call, "product"), feature=query_of(call, "feature"))
    return access_view(found)


@me.get("/subscriptions", answer=SubscriptionList)
def list_subscriptions(call: Call) -> SubscriptionList:
    """The user's subscriptions, oldest first."""
    return SubscriptionList(subscriptions=[subscription_row(s) for s in call.engine.subscriptions(call.user)])


@me.get("/subscriptions/{subscription_id}", answer=SubscriptionDetail, errors=(NotFound,))
def get_subscription(call: Call) -> SubscriptionDetail:
    """A subscription with its running period and what is owed."""
    return subscription_detail(call.engine.subscription(call.param("subscription_id"), user_id=call.user))


def step(
    path: str, *errors: type[BillingError], body: type[Body] = EmptyBody, answer: Any = SubscriptionDetail
) -> Callable[[H], H]:
    """Declare a route that does something to one of the user's subscriptions."""
    known = (NotFound, Conflict, IllegalTransition, *errors)
    return me.post(f"/subscriptions/{{subscription_id}}/{path}", body=body, answer=answer, errors=known)


@step("cancel", body=CancelBody)
def cancel_subscription(call: Call) -> SubscriptionDetail:
    """End a subscription: at the end of what is paid, or now. The same again changes nothing."""
    return subscription_detail(call.engine.cancel_subscription(_named(call), **_own(call), **call.body.model_dump()))


@step("undo-cancel")
def undo_cancel(call: Call) -> SubscriptionDetail:
    """Let a subscription go on that was to end at the end of what is paid."""
    return subscription_detail(call.engine.undo_cancel(_named(call), **_own(call)))


@step("zone", body=ZoneBody)
def change_zone(call: Call) -> SubscriptionDetail:
    """Count a subscription's calendar in another zone, from the next boundary on that is not asked for yet."""
    return subscription_detail(call.engine.change_zone(_named(call), call.body.zone, **_own(call)))


@step("preview", *SOLD, body=ChangeBody, answer=ChangePreviewView)
def preview_change(call: Call) -> ChangePreviewView:
    """What a change would come to now; nothing is written."""
    wanted = call.body.model_dump()
    return change_preview_view(call.engine.preview_change(_named(call), user_id=call.user, **wanted))


@step("change", *SOLD, body=ChangeBody, answer=ChangeView)
def change_subscription(call: Call) -> ChangeView:
    """Move a subscription to other terms: within the period for the difference, or with the next one."""
    made = call.engine.change_subscription(_named(call), **_own(call), **call.body.model_dump())
    order = made.order
    return ChangeView(
        subscription=subscription_detail(made.subscription),
        preview=change_preview_view(made.preview),
        order=None if order is None else ready_to_pay(call, order, replayed=order.replayed),
    )


@step("withdraw-change")
def withdraw_change(call: Call) -> SubscriptionDetail:
    """Drop the change that waits, and its order; nothing when none does."""
    return subscription_detail(call.engine.withdraw_change(_named(call), **_own(call)))


@step("pause", body=PauseBody)
def pause_subscription(call: Call) -> SubscriptionDetail:
    """Pause a subscription: access closes, nothing is asked for, and the paid time that is left is kept."""
    return subscription_detail(call.engine.pause_subscription(_named(call), **_own(call), **call.body.model_dump()))


@step("resume")
def resume_subscription(call: Call) -> SubscriptionDetail:
    """Let a paused subscription go on; what was left of the paid time begins now."""
    return subscription_detail(call.engine.resume_subscription(_named(call), **_own(call)))


@me.post(
    "/wallet/challenge",
    body=WalletChallengeBody,
    answer=WalletChallengeView,
    status=HTTPStatus.CREATED,
    errors=(UnknownNetwork,),
)
def challenge_wallet(call: Call) -> WalletChallengeView:
    """A text (EIP-4361) that a wallet signs to prove that it is the user's."""
    return wallet_challenge_view(call.engine.wallet_challenge(**_wallet_of_site(call)))


@me.post("/wallet/verify", body=WalletProofBody, answer=WalletView, errors=PROVED)
def verify_wallet(call: Call) -> WalletView:
    """Confirm a wallet by the signature of its challenge, which is used up whatever the outcome."""
    body: WalletProofBody = call.body
    wallet = call.engine.confirm_wallet(user_id=call.user, nonce=body.nonce, signature=read_hex(body.signature))
    return wallet_view(wallet)


@me.post(
    "/mandates/prepare",
    body=PrepareMandateBody,
    answer=PreparedMandateView,
    errors=(NotFound, UnknownNetwork, UnknownAsset, *PROVED),
)
def prepare_mandate(call: Call) -> PreparedMandateView:
    """What a wallet signs and allows so that a subscription's charges can be pulled from it."""
    body: PrepareMandateBody = call.body
    prepared = call.engine.mandates.prepare(
        call.user,
        body.subscription_id,
        body.wallet,
        via=body.via,
        network=body.network,
        asset=body.asset,
        charge_cap=_units(body.charge_cap, "charge_cap"),
        cap=_units(body.cap, "cap"),
        allowance=_units(body.allowance, "allowance"),
        expires_at=read_instant(body.expires_at, field="expires_at"),
    )
    return prepared_mandate_view(prepared)


@me.post("/mandates", body=GiveMandateBody, answer=MandateView, errors=(NotFound, *PROVED))
def give_mandate(call: Call) -> MandateView:
    """Give a prepared mandate by the payer's signature; the one before it is put out of use."""
    body: GiveMandateBody = call.body
    given = call.engine.mandates.give(
        call.user,
        body.mandate_id,
        signature=read_hex(body.signature),
        permit_signature=read_hex_or_none(body.permit_signature),
    )
    return mandate_view(given)


@me.get(
    "/mandates",
    answer=MandateList,
    parameters=(Parameter(name="subscription", text="Of this subscription only."),),
)
def list_mandates(call: Call) -> MandateList:
    """The user's mandates, oldest first."""
    found = call.engine.mandates.list(call.user, subscription=query_of(call, "subscription"))
    return MandateList(mandates=[mandate_view(mandate) for mandate in found])


@me.delete("/mandates/{mandate_id}", answer=CancelledMandateView, errors=(NotFound,))
def cancel_mandate(call: Call) -> CancelledMandateView:
    """Put a mandate out of use; the answer holds the transaction that ends it on chain too."""
    return cancelled_mandate_view(call.engine.mandates.cancel(call.user, call.param("mandate_id")))


@me.post(
    "/refunds/{refund_id}/challenge",
    body=WalletChallengeBody,
    answer=WalletChallengeView,
    status=HTTPStatus.CREATED,
    errors=(NotFound, UnknownNetwork, Conflict, IllegalTransition),
)
def challenge_refund_address(call: Call) -> WalletChallengeView:
    """A text that a wallet signs to prove that a refund shall go to it."""
    return wallet_challenge_view(call.engine.refund_challenge(call.param("refund_id"), **_wallet_of_site(call)))


@me.post(
    "/refunds/{refund_id}/address",
    body=RefundAddressBody,
    answer=RefundView,
    errors=(NotFound, IllegalTransition, *PROVED),
)
def set_refund_address(call: Call) -> RefundView:
    """Say where a refund goes: to a wallet confirmed before, or to the one that signed the refund's challenge."""
    body: RefundAddressBody = call.body
    name = call.param("refund_id")
    if body.wallet is not None and body.nonce is None and body.signature is None:
        return refund_view(call.engine.use_refund_wallet(name, user_id=call.user, wallet=body.wallet))
    if body.wallet is not None or body.nonce is None or body.signature is None:
        raise InvalidBody("either a wallet, or the nonce and signature of a challenge", field="wallet")
    taken = call.engine.confirm_refund_address(
        name, user_id=call.user, nonce=body.nonce, signature=read_hex(body.signature)
    )
    return refund_view(taken)


def _units(value: str | None, field: str) -> int | None:
    return None if value is None else parse_base_units(value, field=field)


def _named(call: Call) -> str:
    return call.param("subscription_id")


def _own(call: Call) -> dict[str, Any]:
    """Whose it has to be, and who does it."""
    return {"user_id": call.user, "by": call.user}


def _wallet_of_site(call: Call) -> dict[str, str]:
    """Return whose wallet is to be confirmed, and for which site: ours, never one that a request names."""
    url = call.options.public_url
    if url is None:
        raise ConfigurationError("wallets can be confirmed once the host says its public url", field="public_url")
    body: WalletChallengeBody = call.body
    site = {"domain": urlsplit(url).netloc, "uri": url}
    return {"user_id": call.user, "wallet": body.wallet, "network": body.network, **site}
