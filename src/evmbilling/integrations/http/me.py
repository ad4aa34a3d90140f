"""What belongs to the user who asks: profile, subscriptions, wallets, mandates, refunds."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlsplit

from evmbilling.domain.money import parse_base_units
from evmbilling.errors import (
    ChallengeRefused,
    ConfigurationError,
    Conflict,
    IllegalTransition,
    NetworkUnavailable,
    NotFound,
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
from evmbilling.integrations.http.routes import Call, Parameter, RouteTable
from evmbilling.integrations.http.shapes import RefundView
from evmbilling.integrations.http.views import refund_view

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


@me.post(
    "/subscriptions/{subscription_id}/cancel",
    body=CancelBody,
    answer=SubscriptionDetail,
    errors=(NotFound, Conflict),
)
def cancel_subscription(call: Call) -> SubscriptionDetail:
    """End a subscription: at the end of what is paid, or now. The same again changes nothing."""
    body: CancelBody = call.body
    seen = call.engine.cancel_subscription(
        call.param("subscription_id"), when=body.when, user_id=call.user, by=call.user, reason=body.reason
    )
    return subscription_detail(seen)


@me.post(
    "/subscriptions/{subscription_id}/undo-cancel",
    body=EmptyBody,
    answer=SubscriptionDetail,
    errors=(NotFound, IllegalTransition),
)
def undo_cancel(call: Call) -> SubscriptionDetail:
    """Let a subscription go on that was to end at the end of what is paid."""
    seen = call.engine.undo_cancel(call.param("subscription_id"), user_id=call.user, by=call.user)
    return subscription_detail(seen)


@me.post(
    "/subscriptions/{subscription_id}/zone",
    body=ZoneBody,
    answer=SubscriptionDetail,
    errors=(NotFound, IllegalTransition),
)
def change_zone(call: Call) -> SubscriptionDetail:
    """Count a subscription's calendar in another zone, from the next boundary on that is not asked for yet."""
    body: ZoneBody = call.body
    seen = call.engine.change_zone(call.param("subscription_id"), body.zone, user_id=call.user, by=call.user)
    return subscription_detail(seen)


@me.post(
    "/subscriptions/{subscription_id}/preview",
    body=ChangeBody,
    answer=ChangePreviewView,
    errors=(NotFound, Conflict, IllegalTransition),
)
def preview_change(call: Call) -> ChangePreviewView:
    """What a change would come to now; nothing is written."""
    wanted = call.body.model_dump()
    return change_preview_view(call.engine.preview_change(call.param("subscription_id"), user_id=call.user, **wanted))


@me.post(
    "/subscriptions/{subscription_id}/change",
    body=ChangeBody,
    answer=ChangeView,
    errors=(NotFound, Conflict, IllegalTransition, NetworkUnavailable),
)
def change_subscription(call: Call) -> ChangeView:
    """Move a subscription to other terms: within the period for the difference, or with the next one."""
    made = call.engine.change_subscription(
        call.param("subscription_id"), user_id=call.user, by=call.user, **call.body.model_dump()
    )
    order = made.order
    return ChangeView(
        subscription=subscription_detail(made.subscription),
        preview=change_preview_view(made.preview),
        order=None if order is None else ready_to_pay(call, order.ledger_id, replayed=order.replayed),
    )


@me.post(
    "/subscriptions/{subscription_id}/withdraw-change",
    body=EmptyBody,
    answer=SubscriptionDetail,
    errors=(NotFound, Conflict),
)
def withdraw_change(call: Call) -> SubscriptionDetail:
    """Drop the change that waits, and its order; nothing when none does."""
    seen = call.engine.withdraw_change(call.param("subscription_id"), user_id=call.user, by=call.user)
    return subscription_detail(seen)


@me.post(
    "/subscriptions/{subscription_id}/pause",
    body=PauseBody,
    answer=SubscriptionDetail,
    errors=(NotFound, Conflict, IllegalTransition),
)
def pause_subscription(call: Call) -> SubscriptionDetail:
    """Pause a subscription: access closes, nothing is asked for, and the paid time that is left is kept."""
    body: PauseBody = call.body
    seen = call.engine.pause_subscription(
        call.param("subscription_id"), when=body.when, reason=body.reason, user_id=call.user, by=call.user
    )
    return subscription_detail(seen)


@me.post(
    "/subscriptions/{subscription_id}/resume",
    body=EmptyBody,
    answer=SubscriptionDetail,
    errors=(NotFound, IllegalTransition),
)
def resume_subscription(call: Call) -> SubscriptionDetail:
    """Let a paused subscription go on; what was left of the paid time begins now."""
    seen = call.engine.resume_subscription(call.param("subscription_id"), user_id=call.user, by=call.user)
    return subscription_detail(seen)


@me.post("/wallet/challenge", body=WalletChallengeBody, answer=WalletChallengeView, status=HTTPStatus.CREATED)
def challenge_wallet(call: Call) -> WalletChallengeView:
    """A text (EIP-4361) that a wallet signs to prove that it is the user's."""
    body: WalletChallengeBody = call.body
    domain, uri = _site(call)
    made = call.engine.wallet_challenge(
        user_id=call.user, wallet=body.wallet, network=body.network, domain=domain, uri=uri
    )
    return wallet_challenge_view(made)


@me.post("/wallet/verify", body=WalletProofBody, answer=WalletView, errors=(ChallengeRefused, Conflict))
def verify_wallet(call: Call) -> WalletView:
    """Confirm a wallet by the signature of its challenge, which is used up whatever the outcome."""
    body: WalletProofBody = call.body
    wallet = call.engine.confirm_wallet(user_id=call.user, nonce=body.nonce, signature=read_hex(body.signature))
    return wallet_view(wallet)


@me.post(
    "/mandates/prepare",
    body=PrepareMandateBody,
    answer=PreparedMandateView,
    errors=(NotFound, Conflict, ChallengeRefused),
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


@me.post("/mandates", body=GiveMandateBody, answer=MandateView, errors=(NotFound, Conflict, ChallengeRefused))
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
    errors=(NotFound,),
)
def challenge_refund_address(call: Call) -> WalletChallengeView:
    """A text that a wallet signs to prove that a refund shall go to it."""
    body: WalletChallengeBody = call.body
    domain, uri = _site(call)
    made = call.engine.refund_challenge(
        call.param("refund_id"), user_id=call.user, wallet=body.wallet, network=body.network, domain=domain, uri=uri
    )
    return wallet_challenge_view(made)


@me.post(
    "/refunds/{refund_id}/address",
    body=RefundAddressBody,
    answer=RefundView,
    errors=(NotFound, Conflict, ChallengeRefused),
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


def _site(call: Call) -> tuple[str, str]:
    """Return the domain and URI that wallets show; never the request's, which a page elsewhere could choose."""
    url = call.options.public_url
    if url is None:
        raise ConfigurationError("wallets can be confirmed once the host says its public url", field="public_url")
    return urlsplit(url).netloc, url
