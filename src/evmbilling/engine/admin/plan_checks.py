"""Whether a plan can be sold as it is written down: its gateway, networks, contract and prices fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from evmbilling.domain.catalogue.catalogue import PaymentContract, PaymentGateway, Price, SubscriptionPlan
from evmbilling.domain.selling.deposits import Deposit
from evmbilling.domain.selling.orders import DEPOSIT, Order
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.states import LIVE_SUBSCRIPTIONS, OPEN_ORDERS
from evmbilling.engine.admin.allowing import check_token_allowed
from evmbilling.engine.admin.bindings import check_price, every_version
from evmbilling.errors import InputError, NotFound, UnknownNetwork
from evmbilling.ports.storage import Unit

_PAGE: Final = 500
_LIVE: Final = frozenset(str(status) for status in LIVE_SUBSCRIPTIONS)


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
    if len({(p.network, p.asset.token) for p in plan.prices}) != len(plan.prices):
        raise InputError("an asset is priced once on a network", field="prices")


def check_sweeping(unit: Unit, gateway: PaymentGateway) -> None:
    """Refuse to take the relayer from a gateway that needs it for deposit addresses: nothing sent there would be swept.

    Raises:
        InputError: a plan is sold so, subscriptions run on one that was, an order can be paid at its address, or
            something is at one and waits to be swept; names the field.

    """
    sold = {plan.slug: plan for plan in every_version(unit) if _is_swept(unit, plan, gateway)}
    running = {slug for (slug, status), count in unit.subscriptions_by_plan().items() if count and status in _LIVE}
    newest = {plan.slug: plan for plan in unit.plans()}
    for slug in sold:
        if newest[slug].archived_at is None:
            raise InputError(f"the plan {slug} is sold at deposit addresses, which the relayer sweeps", field="relayer")
        if slug in running:
            raise InputError(f"subscriptions to {slug} are paid at deposit addresses", field="relayer")
        if any(order.rail == DEPOSIT and order.gateway_slug == gateway.slug for order in _open_orders(unit, slug)):
            raise InputError(f"an order of {slug} can be paid at a deposit address", field="relayer")
    for deposit in _held(unit):
        order = unit.order(deposit.ledger_id)
        if order is not None and order.gateway_slug == gateway.slug:
            raise InputError(f"something waits at {deposit.address} to be swept", field="relayer")


def _is_swept(unit: Unit, plan: SubscriptionPlan, gateway: PaymentGateway) -> bool:
    """Whether a version of a plan is sold at deposit addresses that a gateway's relayer sweeps."""
    bound = (unit.contract(plan.contract_slug, price.network) for price in plan.prices)
    return plan.gateway_slug == gateway.slug and any(c is not None and c.kind == DEPOSIT for c in bound)


def _open_orders(unit: Unit, plan_slug: str) -> Iterator[Order]:
    """Give every order of a plan that a payer may still pay."""
    wanted = OrderFilter(statuses=tuple(sorted(OPEN_ORDERS)), plan_slug=plan_slug)
    page = unit.find_orders(wanted, limit=_PAGE)
    while page:
        yield from page
        page = unit.find_orders(wanted, before=page[-1].ledger_id, limit=_PAGE)


def _held(unit: Unit) -> Iterator[Deposit]:
    """Give every address at which something waits."""
    page = unit.deposits(states=("waiting", "stuck"), limit=_PAGE)
    while page:
        yield from page
        page = unit.deposits(states=("waiting", "stuck"), after=page[-1].ledger_id, limit=_PAGE)


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
