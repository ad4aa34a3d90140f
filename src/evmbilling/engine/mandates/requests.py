"""What a mandate is asked for with: parsed, and looked up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import attrs
from attrs import frozen

from evmbilling.domain.catalogue.catalogue import Network, PaymentContract
from evmbilling.domain.identity import parse_opaque, parse_slug
from evmbilling.domain.mandates.mandates import Mandate, parse_cap
from evmbilling.domain.mandates.offers import MandateRequest, draft_mandate, wanted_allowance
from evmbilling.domain.selling.offering import CheckoutRequest, Offer, make_lines
from evmbilling.domain.selling.orders import Order, sum_lines
from evmbilling.domain.states import PAID_ORDERS
from evmbilling.domain.subscriptions.calendar import parse_instant
from evmbilling.domain.subscriptions.subscriptions import Subscription
from evmbilling.engine.context import Ports
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.engine.requests import is_ledger_id, parse_asset, parse_wallet
from evmbilling.engine.selling.availability import find_offer
from evmbilling.errors import ChallengeRefused, ConfigurationError, InputError, NotFound
from evmbilling.ports.mandates import MandateProvider
from evmbilling.ports.storage import Unit

KIND = "mandates"


@frozen(kw_only=True)
class Asked:
    """A request with what was found for it.

    Attributes:
        draft: the terms, without the payer's permit.
        wanted: base units that the payer is asked to allow.

    """

    draft: Mandate
    wanted: int
    network: Network
    provider: MandateProvider


def pulling(provider: object) -> MandateProvider:
    """Return a provider as one that pulls.

    Raises:
        ConfigurationError: it cannot.

    """
    if not isinstance(provider, MandateProvider):
        raise ConfigurationError("this payment provider cannot pull", field="provider")
    return provider


def parse_request(
    *,
    user_id: object,
    subscription: object,
    wallet: object,
    via: object,
    network: object,
    asset: object,
    charge_cap: object,
    cap: object,
    allowance: object,
    expires_at: datetime | None,
    operator: object,
) -> MandateRequest:
    """Parse what a mandate is asked for with.

    Raises:
        InputError: names the first field that cannot be used.

    """
    if via not in ("allowance", "permit2"):
        raise InputError("a mandate goes over an allowance or over permit2", field="via")
    if not is_ledger_id(subscription):
        raise NotFound("there is no such subscription", field="subscription")
    return MandateRequest(
        user_id=parse_opaque(user_id, field="user_id"),
        subscription_id=str(subscription),
        wallet=parse_wallet(wallet, field="wallet"),
        via="permit2" if via == "permit2" else "allowance",
        network=_optional(network, parse_slug, "network"),
        asset=None if asset is None else parse_asset(asset),
        charge_cap=_optional(charge_cap, parse_cap, "charge_cap"),
        cap=_optional(cap, parse_cap, "cap"),
        allowance=_optional(allowance, parse_cap, "allowance"),
        expires_at=_optional(expires_at, parse_instant, "expires_at"),
        operator=_optional(operator, parse_wallet, "operator"),
    )


def _optional(value: Any, read: Callable[..., Any], field: str) -> Any:
    return None if value is None else read(value, field=field)


def ask(ports: Ports, unit: Unit, request: MandateRequest) -> Asked:
    """Find everything that a request needs, and draft its terms."""
    subscription = unit.subscriptions([request.subscription_id]).get(request.subscription_id)
    if subscription is None or subscription.user_id != request.user_id:
        raise NotFound("there is no such subscription", field="subscription")
    orders = unit.orders_of_subscriptions([subscription.subscription_id])
    _check_wallet(unit, request, orders)
    offer = _offer(unit, request, subscription, orders, now=ports.clock.now())
    network, provider = network_and_provider(ports, unit, offer.network.name)
    pulls = pulling(provider)
    lines = make_lines(offer, request.user_id, subscription.quantity, ports.extra_lines)
    draft = draft_mandate(
        request,
        subscription,
        offer,
        bound_contract(unit, network),
        amount=sum_lines(lines),
        mandate_id=ports.ids.new_id(),
        now=ports.clock.now(),
    )
    draft = attrs.evolve(draft, digest=pulls.mandate_digest(draft))
    return Asked(draft=draft, wanted=wanted_allowance(request, draft), network=network, provider=pulls)


def bound_contract(unit: Unit, network: Network) -> PaymentContract:
    """Return the Mandates contract that new mandates of a network are for: the latest that is in use.

    Raises:
        InputError: none is bound there.

    """
    bound = [c for c in unit.contracts(network.chain_id) if c.kind == KIND and c.archived_at is None]
    if not bound:
        raise InputError(f"nothing can be pulled on {network.name}: no Mandates contract is bound", field="network")
    return max(bound, key=lambda contract: (contract.start_block, contract.slug))


def _check_wallet(unit: Unit, request: MandateRequest, orders: Sequence[Order]) -> None:
    known = {wallet.address for wallet in unit.wallets(request.user_id)}
    paying = {order.wallet for order in orders if order.status in PAID_ORDERS}
    if request.wallet not in known | paying:
        raise ChallengeRefused("this wallet is not confirmed as the user's", field="wallet")


def _offer(
    unit: Unit, request: MandateRequest, subscription: Subscription, orders: Sequence[Order], *, now: datetime
) -> Offer:
    """Return where the subscription's own plan version is sold: as asked, else as its newest order was."""
    plan = unit.plan(subscription.plan_slug, subscription.plan_version)
    if plan is None:
        raise ConfigurationError(f"the plan {subscription.plan_slug} is gone", field="plan")
    last = orders[-1] if orders and request.network is None and request.asset is None else None
    wanted = CheckoutRequest(
        plan=plan.slug,
        user_id=request.user_id,
        wallet=request.wallet,
        network=last.network if last else request.network,
        asset=last.asset.token if last else request.asset,
        product=subscription.product,
        quantity=subscription.quantity,
        beneficiary=None,
        zone=None,
        start_at=None,
    )
    return find_offer(unit, plan, wanted, now=now)
