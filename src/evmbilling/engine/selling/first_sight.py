"""The first look at what a plan is sold in: its tokens are as configured, and the code behind a binding is pinned.

Who could replace the code of a contract or a token between the plan and the first look at it would be trusted. So the
look belongs to saving the plan. Where no node answered then, nothing is sold before it through a mapped contract, nor
in a token that no plan was ever sold in: its decimals are part of the price.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs
from attrs import field, frozen

from evmbilling.domain.catalogue.catalogue import MAPPED, Network, PaymentContract, Price, SubscriptionPlan
from evmbilling.domain.money import Asset
from evmbilling.engine.admin.bindings import binding
from evmbilling.engine.context import Ports
from evmbilling.errors import ConfigurationError, InputError, ProviderError
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

Pins: TypeAlias = tuple[tuple[str, str], ...]


@frozen(kw_only=True)
class FirstSight:
    """What nodes told about a plan when it was saved; nothing about a network whose nodes did not answer.

    Attributes:
        pins: the code that nobody had pinned yet, by the name of the network.
        read: the tokens that have the decimals which are configured.

    """

    pins: Mapping[str, Pins] = field(factory=dict)
    read: Collection[Asset] = ()


@frozen(kw_only=True)
class Place:
    """Where a plan is sold: a network, the contract there, and the provider that asks its nodes."""

    network: Network
    contract: PaymentContract
    provider: Provider


def places_of(ports: Ports, unit: Unit, plan: SubscriptionPlan) -> Sequence[Place]:
    """Return where a plan that was checked is sold, each network once."""
    gateway = unit.gateway(plan.gateway_slug)
    provider = None if gateway is None else ports.provider(gateway.provider)
    found: list[Place] = []
    for name in dict.fromkeys(price.network for price in plan.prices):
        network, contract = unit.network(name), unit.contract(plan.contract_slug, name)
        if network is not None and contract is not None and provider is not None:
            found.append(Place(network=network, contract=contract, provider=provider))
    return found


def look_at(plan: SubscriptionPlan, places: Sequence[Place]) -> FirstSight:
    """Ask the chains about a plan's tokens, as far as they answer.

    Raises:
        InputError: a token is not as configured, or there is no code; names the price, or the contract.

    """
    pins: dict[str, Pins] = {}
    read: set[Asset] = set()
    for place in places:
        try:
            for asset in _check_tokens(plan, place):
                read.add(asset)
            found = _read_pins(plan, place)
        except (ProviderError, ConfigurationError):
            continue  # the next check of contracts and tokens looks
        if found:
            pins[place.network.name] = found
    return FirstSight(pins=pins, read=read)


def with_pins(contract: PaymentContract, found: Pins) -> PaymentContract | None:
    """Return a contract that also trusts the code which was just found; None where that says nothing new."""
    known = {address for address, _ in contract.pins}
    fresh = [pin for pin in found if pin[0] not in known]
    if not fresh:
        return None
    return attrs.evolve(contract, pins=tuple(sorted({*contract.pins, *fresh})), version=contract.version + 1)


def is_trusted(contract: PaymentContract, price: Price) -> bool:
    """Whether somebody has looked at the code that a sale trusts; a built-in contract's code is known."""
    if contract.kind != MAPPED:
        return True
    known = {address for address, _ in contract.pins}
    return contract.address in known and (price.asset.is_native or price.asset.token in known)


def _check_tokens(plan: SubscriptionPlan, place: Place) -> Iterator[Asset]:
    """Give each of a plan's tokens on a network as soon as a node has told its decimals, and they are those."""
    name = place.network.name
    for at, price in enumerate(plan.prices):
        if price.network != name or price.asset.is_native:
            continue
        differences = place.provider.inspect_plan(attrs.evolve(plan, prices=(price,)), {name: place.network})
        if differences:
            raise InputError("; ".join(differences), field=f"prices[{at}]")
        yield price.asset


def _read_pins(plan: SubscriptionPlan, place: Place) -> Pins:
    """Return the code that nobody has pinned yet; what was pinned before has to be there still."""
    contract = place.contract
    if contract.kind != MAPPED:
        return ()
    differences = place.provider.inspect_contract(contract, place.network)
    if differences:
        raise InputError("; ".join(differences), field="contract_slug")
    sold = {p.asset.token for p in plan.prices if p.network == place.network.name and not p.asset.is_native}
    fresh = {contract.address, *sold} - {address for address, _ in contract.pins}
    found = binding(place.provider).read_pins(place.network, sorted(fresh)) if fresh else ()
    if (contract.address, "") in found:
        raise InputError(f"there is no contract at {contract.address}", field="contract_slug")
    return tuple(found)
