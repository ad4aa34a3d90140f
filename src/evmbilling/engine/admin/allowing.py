"""A network's lists of what may be bound there, and of what plans may be sold in."""

from __future__ import annotations

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.money import Asset
from evmbilling.errors import NotAllowed
from evmbilling.ports.storage import Unit


def check_contract_allowed(network: Network, address: str) -> None:
    """Refuse a contract that is not on its network's list.

    Raises:
        NotAllowed: it is not.

    """
    if network.allowed_contracts is not None and address not in network.allowed_contracts:
        raise NotAllowed(f"{address} may not be bound on {network.name}", field="address")


def check_token_allowed(network: Network, asset: Asset) -> None:
    """Refuse a price in a token that is not on its network's list; the native coin always may.

    Raises:
        NotAllowed: it is not.

    """
    if network.allowed_tokens is not None and not asset.is_native and asset.token not in network.allowed_tokens:
        raise NotAllowed(f"nothing may be sold in {asset.token} on {network.name}", field="prices")


def check_lists(unit: Unit, network: Network) -> None:
    """Refuse lists that leave out what is in use: that is archived first, so that nothing stops unnoticed.

    Raises:
        NotAllowed: a contract that is bound, or a token that a plan is sold in, would not be on them; names the list.

    """
    allowed = network.allowed_contracts
    for contract in unit.contracts(network.chain_id):
        if allowed is not None and contract.archived_at is None and contract.address not in allowed:
            raise NotAllowed(f"{contract.slug} is bound to {contract.address}", field="allowed_contracts")
    for plan in unit.plans():
        sold = (p.asset for p in plan.prices if p.network == network.name and plan.archived_at is None)
        for asset in sold:
            if network.allowed_tokens is not None and not asset.is_native and asset.token not in network.allowed_tokens:
                raise NotAllowed(f"the plan {plan.slug} is sold in {asset.token}", field="allowed_tokens")
