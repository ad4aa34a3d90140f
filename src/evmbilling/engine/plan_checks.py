"""Whether a plan can be sold as it is written down: its gateway, networks, contract and prices fit each other."""

from __future__ import annotations

from evmbilling.domain.catalogue import PaymentContract, PaymentGateway, Price, SubscriptionPlan
from evmbilling.domain.orders import DEPOSIT
from evmbilling.engine.allowing import check_token_allowed
from evmbilling.engine.bindings import check_price
from evmbilling.errors import InputError, NotFound, UnknownNetwork
from evmbilling.ports.storage import Unit


def check_plan(unit: Unit, plan: SubscriptionPlan) -> None:
    """Check that the gateway sells on each priced network, the contract is bound and each asset is on that chain.

    Raises:
        InputError: a price does not fit, or what is needed for it is archived; names the field.
        UnknownNetwork: the gateway does not sell there.
        NotFound: there is no such gateway or contract.
        NotAllowed: the network has a list of tokens, and one is not on it.

    """
    gateway = unit.gateway(plan.gateway_slug)
    if gateway is None:
        raise NotFound(f"there is no gateway {plan.gateway_slug}", field="gateway_slug")
    if gateway.archived_at is not None:
        raise InputError(f"the gateway {gateway.slug} is archived", field="gateway_slug")
    for price in plan.prices:
        _check_place(unit, gateway, plan.contract_slug, price)
    for price in plan.prices:
        pinned = next((a for a in unit.priced_assets(price.asset.chain_id) if a.token == price.asset.token), None)
        if pinned is not None and pinned.decimals != price.asset.decimals:
            raise InputError(
                f"{price.asset.token} is priced with {pinned.decimals} decimals elsewhere", field="decimals"
            )
    if len({(p.network, p.asset.token) for p in plan.prices}) != len(plan.prices):
        raise InputError("an asset is priced once on a network", field="prices")


def check_sweeping(unit: Unit, gateway: PaymentGateway) -> None:
    """Refuse to take the relayer from a gateway that sells at deposit addresses: nothing sent there would be swept.

    Raises:
        InputError: a plan, or a version of it that subscriptions may run on, is sold so; names the field.

    """
    sold = [plan for plan in unit.plans() if plan.archived_at is None]
    keys = {(plan.slug, version) for plan in sold for version in range(1, plan.version + 1)}
    for plan in unit.plan_versions(keys).values():
        bound = (unit.contract(plan.contract_slug, price.network) for price in plan.prices)
        if plan.gateway_slug == gateway.slug and any(c is not None and c.kind == DEPOSIT for c in bound):
            text = f"the plan {plan.slug} is sold at deposit addresses, which the relayer sweeps"
            raise InputError(text, field="relayer")


def _check_place(unit: Unit, gateway: PaymentGateway, contract_slug: str, price: Price) -> None:
    """Check what a price needs on its network."""
    network = unit.network(price.network)
    if network is None or price.network not in gateway.networks:
        raise UnknownNetwork(f"the gateway does not sell on {price.network}", field="prices")
    if network.archived_at is not None:
        raise InputError(f"the network {network.name} is archived", field="prices")
    if price.asset.chain_id != network.chain_id:
        raise InputError(f"{price.network} has the chain id {network.chain_id}", field="prices")
    check_token_allowed(network, price.asset)
    contract = unit.contract(contract_slug, price.network)
    if contract is None:
        raise NotFound(f"no contract {contract_slug} is bound on {price.network}", field="contract_slug")
    if contract.archived_at is not None:
        raise InputError(f"the contract {contract_slug} on {price.network} is archived", field="contract_slug")
    _check_binding(contract, price)
    if contract.kind == DEPOSIT and gateway.relayer is None:
        raise InputError("deposit addresses are swept by the gateway's relayer, and it has none", field="gateway_slug")


def _check_binding(contract: PaymentContract, price: Price) -> None:
    """Orders are offered through a contract that can take them, in what it takes."""
    if contract.kind == "mandates":
        raise InputError("this contract pulls under mandates; orders are not offered through it", field="contract_slug")
    check_price(contract, price)
    if contract.kind == "erc20" and price.asset.token != contract.address:
        raise InputError(f"plain transfers to this binding are of {contract.address} only", field="prices")
