"""Comparing bound contracts with their chains: one whose code is another stands still until a person has looked.

Whoever replaces the code behind an address can make it say that anything was paid.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import attrs

from evmbilling.domain.catalogue.catalogue import MAPPED, Network, PaymentContract
from evmbilling.domain.decisions import RecordAudit, SaveContract, StoreQueueItem
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import DECIMALS_UNREAD, QueueItem, contract_subject, token_subject
from evmbilling.domain.selling.availability import Unavailable
from evmbilling.domain.selling.offers import Problem
from evmbilling.domain.selling.orders import Order
from evmbilling.engine.admin.bindings import binding, plans_through
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.reading.reader import network_and_provider
from evmbilling.errors import AlreadyExists, ConfigurationError, ProviderError, UnknownAsset
from evmbilling.ports.provider import Provider
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.checks")
_LONGEST_NOTE = 500
Pins = tuple[tuple[str, str], ...]


def check_contracts(ports: Ports, runner: Runner) -> Sequence[QueueItem]:
    """Ask the chains about every bound contract; see :meth:`evmbilling.engine.core.Engine.check_contracts`."""
    halted: list[QueueItem] = []
    for contract, network, provider in runner.read(partial(_bound, ports)):
        try:
            differences = provider.inspect_contract(contract, network)
            pins = _unpinned(contract, network, provider, runner) if not differences else ()
        except (ProviderError, ConfigurationError):
            ports.telemetry.count("contract_check_failed", network=network.name)
            continue
        if differences:
            found = runner.write(partial(_halt, ports, contract, "; ".join(differences)[:_LONGEST_NOTE]))
            halted += [found] if found is not None else []
        elif pins:
            runner.write(partial(_pin, ports, contract, pins))
    return halted


def _unpinned(contract: PaymentContract, network: Network, provider: Provider, runner: Runner) -> Pins:
    """Return the code of what a mapped contract is sold in, or of itself, that nobody has pinned yet.

    A token whose decimals are not those that are configured is left out: nothing is sold in it.
    """
    if contract.kind != MAPPED:
        return ()
    known = {address for address, _ in contract.pins}
    fresh = {contract.address} - known
    for plan in runner.read(partial(plans_through, contract=contract)):
        sold = [p for p in plan.prices if p.network == contract.network and p.asset.token not in {*known, *fresh}]
        for price in sold:
            only = attrs.evolve(plan, prices=(price,))
            if not price.asset.is_native and not provider.inspect_plan(only, {network.name: network}):
                fresh.add(price.asset.token)
    found = binding(provider).read_pins(network, sorted(fresh)) if fresh else ()
    return tuple((address, mark) for address, mark in found if mark)


def _pin(ports: Ports, contract: PaymentContract, pins: Pins, unit: Unit) -> None:
    """Trust on first sight: code that was never compared is pinned, so that a later change is seen."""
    before = unit.contract(contract.slug, contract.network)
    if before != contract:
        return  # somebody changed the binding meanwhile; the next check looks again
    after = attrs.evolve(before, pins=tuple(sorted({*before.pins, *pins})), version=before.version + 1)
    entry = AuditEntry(
        audit_id=ports.ids.new_id(),
        actor="system",
        action="contract.pin",
        object=f"contract:{contract.slug}@{contract.network}",
        changes={"pins": [[list(pin) for pin in before.pins], [list(pin) for pin in after.pins]]},
        recorded_at=ports.clock.now(),
    )
    unit.apply([SaveContract(after), RecordAudit(entry)])


def standstill(unit: Unit, asset: Asset, contract: str) -> Unavailable | None:
    """Return why nothing is sold in a token through a contract at the moment; None where neither stands still.

    Raises:
        UnknownAsset: the token is halted until a person has looked, or its decimals were corrected since.

    """
    subjects = [contract_subject(asset.chain_id, contract)]
    if not asset.is_native:
        subjects.append(token_subject(asset.chain_id, asset.token))
    items = unit.queue_items_of(subjects)
    found = {item.kind: item.reason for item in items if item.state == "open"}
    if any(item.asset is not None and item.asset.decimals != asset.decimals for item in items):
        raise UnknownAsset(f"{asset.symbol} is not sold with {asset.decimals} decimals any more", field="asset")
    token = found.get("token_halted")
    if token not in (None, DECIMALS_UNREAD):
        raise UnknownAsset(f"{asset.symbol} is not accepted at the moment", field="asset")
    if "contract_halted" in found:
        return "contract_halted"
    return None if token is None else "token_unchecked"


def changed_code(runner: Runner, provider: Provider, order: Order, network: Network) -> Problem | None:
    """Return that an order's contract is not the one that was bound any more; None where it is, or nobody can say.

    Asks a node, about a mapped contract only. A change that a person has looked at is none.
    """
    contract = runner.read(lambda unit: unit.contract(order.contract_slug, order.network))
    if contract is None or contract.kind != MAPPED:
        return None
    try:
        note = "; ".join(provider.inspect_contract(contract, network))[:_LONGEST_NOTE]
    except (ProviderError, ConfigurationError):
        return None
    if not note or runner.read(partial(_is_accepted, contract, note)):
        return None
    return Problem(code="contract_changed", text="the code of the contract is not the one that was bound")


def _is_accepted(contract: PaymentContract, note: str, unit: Unit) -> bool:
    subject = contract_subject(contract.chain_id, contract.address)
    items = (item for item in unit.queue_items_of([subject]) if item.kind == "contract_halted")
    return any(item.state != "open" and item.reason == note for item in items)


def _bound(ports: Ports, unit: Unit) -> Sequence[tuple[PaymentContract, Network, Provider]]:
    in_use = {n.name for n in unit.networks() if n.archived_at is None}
    contracts = [c for c in unit.contracts() if c.archived_at is None and c.network in in_use]
    return [(contract, *network_and_provider(ports, unit, contract.network)) for contract in contracts]


def _halt(ports: Ports, contract: PaymentContract, note: str, unit: Unit) -> QueueItem | None:
    """Open the item that halts a contract; None when it is halted, or a person has seen just this."""
    subject = contract_subject(contract.chain_id, contract.address)
    known = next((i for i in unit.queue_items_of([subject]) if i.kind == "contract_halted"), None)
    if known is not None and (known.state == "open" or known.reason == note):
        return None
    item = QueueItem(
        item_id=known.item_id if known else ports.ids.new_id(),
        kind="contract_halted",
        subject=subject,
        reason=note,
        opened_at=ports.clock.now(),
        note=note,
        version=known.version + 1 if known else 1,
    )
    try:
        unit.apply([StoreQueueItem(item)])
    except AlreadyExists:
        return None
    ports.telemetry.count("contracts_halted", network=contract.network)
    facts = {"contract_slug": contract.slug, "network": contract.network, "reason": note}
    _log.error("nothing is sold through this contract until a person has looked", extra=facts)
    return item
