"""Where a plan is sold now: the facts for :mod:`evmbilling.domain.selling.availability`, and who may pay there."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from evmbilling.domain.catalogue.catalogue import Price, SubscriptionPlan
from evmbilling.domain.selling.availability import WHY_NOT, fallback_prices, other_prices, unavailable
from evmbilling.domain.selling.offering import CheckoutRequest, Offer, choose_price
from evmbilling.engine.admin.bindings import by_payer, names_nobody
from evmbilling.engine.admin.contract_checks import standstill
from evmbilling.engine.selling.deposit_orders import check_payer
from evmbilling.engine.selling.first_sight import is_trusted
from evmbilling.errors import ConfigurationError, InputError, NetworkUnavailable, UnknownNetwork
from evmbilling.ports.storage import Unit


def find_offer(unit: Unit, plan: SubscriptionPlan, request: CheckoutRequest, *, now: datetime) -> Offer:
    """Return where a plan is sold for a request.

    Where no network was named it is the first that the plan has a price on and that is in use with the plan's gateway
    and contract; where that one halts or lags, the first of its fallbacks that does not.

    Raises:
        UnknownNetwork, UnknownAsset: it is not sold there or in that.
        NetworkUnavailable: the network that was named halts or lags, or no fallback is left.
        ConfigurationError: the plan's gateway or contract is gone.
        InputError: it has to be paid from a wallet, and none was named.

    """
    if request.network is not None and unit.network(request.network) is None:
        raise UnknownNetwork(field="network")
    price = choose_price(plan, request.network, request.asset)
    try:
        return _offer_or_fallback(unit, plan, price, request, now)
    except (UnknownNetwork, ConfigurationError):
        if request.network is not None:
            raise
        for other in other_prices(plan, price.network, request.asset):
            with suppress(UnknownNetwork, ConfigurationError):
                return _offer_or_fallback(unit, plan, other, request, now)
        raise


def _offer_or_fallback(
    unit: Unit, plan: SubscriptionPlan, price: Price, request: CheckoutRequest, now: datetime
) -> Offer:
    try:
        return check_payer(request, _offer_at(unit, plan, price, now))
    except NetworkUnavailable as error:
        told = error
    instead = _fallbacks(unit, plan, price, request.asset, now)
    if request.network is None and instead:
        return check_payer(request, instead[0])
    told.details["instead"] = [other.network.name for other in instead]
    raise told


def _fallbacks(unit: Unit, plan: SubscriptionPlan, price: Price, asset: str | None, now: datetime) -> list[Offer]:
    """Return where else the plan can be sold now."""
    network = unit.network(price.network)
    found: list[Offer] = []
    for other in fallback_prices(plan, network, asset) if network is not None else ():
        try:
            found.append(_offer_at(unit, plan, other, now))
        except (InputError, ConfigurationError, NetworkUnavailable):
            continue
    return found


def _offer_at(unit: Unit, plan: SubscriptionPlan, price: Price, now: datetime) -> Offer:
    network = unit.network(price.network)
    gateway = unit.gateway(plan.gateway_slug)
    contract = unit.contract(plan.contract_slug, price.network)
    if network is None or network.archived_at is not None:
        raise UnknownNetwork(f"the network {price.network} is not in use", field="network")
    if gateway is None or gateway.archived_at is not None or contract is None or contract.archived_at is not None:
        raise ConfigurationError(f"the plan {plan.slug} has no gateway or contract in use", field="plan")
    if contract.kind == "deposit" and gateway.relayer is None:
        raise ConfigurationError(f"the gateway {gateway.slug} has no relayer that sweeps", field="relayer")
    treasury = gateway.treasury(network.name)
    if network.name not in gateway.networks or treasury is None:
        raise UnknownNetwork(f"the gateway {gateway.slug} does not sell on {network.name}", field="network")
    reason = unavailable(network, unit.cursor(network.chain_id), now)
    reason = reason or standstill(unit, price.asset, contract.address)
    if not is_trusted(contract, price):
        reason = reason or "contract_unchecked"
    if reason is not None:
        raise NetworkUnavailable(WHY_NOT[reason], field="network", network=network.name, reason=reason)
    return Offer(plan=plan, price=price, network=network, gateway=gateway, contract=contract, treasury=treasury)


def check_owner(unit: Unit, offer: Offer, user_id: str, wallet: str) -> None:
    """Refuse a wallet that is not the customer's, where an offer's payments name nobody but who paid.

    Raises:
        InputError: nobody could say whose money it is; the field is ``wallet``.

    """
    contract = offer.contract
    if contract.kind == "erc20" or by_payer(contract) or names_nobody(contract):
        check_wallet(unit, user_id, wallet, offer.network.chain_id)


def check_wallet(unit: Unit, user_id: str, address: str, chain_id: int) -> None:
    """Refuse a nameless payment from a wallet that is not the customer's: nobody could say whose money it is."""
    own = (wallet for wallet in unit.wallets(user_id) if wallet.is_on(chain_id))
    if all(wallet.address != address for wallet in own):
        raise InputError("this is paid from a wallet that its owner has confirmed on this chain", field="wallet")
