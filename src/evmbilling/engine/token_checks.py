"""Comparing tokens with what is configured: one that changed stands still until a person has looked at it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

import attrs

from evmbilling.domain.catalogue import Network, PaymentGateway, Price, SubscriptionPlan
from evmbilling.domain.decisions import StoreQueueItem
from evmbilling.domain.finance import QueueItem, token_subject
from evmbilling.domain.money import Asset
from evmbilling.engine.context import Ports, Runner
from evmbilling.errors import AlreadyExists, ConfigurationError, ProviderError
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.checks")
_LONGEST_NOTE = 500


def check_tokens(ports: Ports, runner: Runner) -> Sequence[QueueItem]:
    """Ask the chains about every token that is sold in; see :meth:`evmbilling.engine.core.Engine.check_tokens`."""
    plans, networks = runner.read(_sold)
    halted: list[QueueItem] = []
    for plan, price in _one_of_each(plans):
        network = networks.get(price.network)
        gateway = runner.read(partial(_gateway, plan.gateway_slug))
        if network is None or gateway is None or network.archived_at is not None:
            continue
        only = attrs.evolve(plan, prices=(price,))
        try:
            differences = ports.provider(gateway.provider).inspect_plan(only, networks)
        except (ProviderError, ConfigurationError):
            ports.telemetry.count("token_check_failed", network=network.name)
            continue
        if differences:
            found = runner.write(partial(_halt, ports, price.asset, differences))
            halted += [found] if found is not None else []
    return halted


def _sold(unit: Unit) -> tuple[Sequence[SubscriptionPlan], Mapping[str, Network]]:
    return [p for p in unit.plans() if p.archived_at is None], {n.name: n for n in unit.networks()}


def _gateway(slug: str, unit: Unit) -> PaymentGateway | None:
    return unit.gateway(slug)


def _one_of_each(plans: Sequence[SubscriptionPlan]) -> Sequence[tuple[SubscriptionPlan, Price]]:
    """Return one plan and price for each way in which a token is pinned."""
    found: dict[Asset, tuple[SubscriptionPlan, Price]] = {}
    for plan in plans:
        for price in plan.prices:
            if not price.asset.is_native:
                found.setdefault(price.asset, (plan, price))
    return list(found.values())


def _halt(ports: Ports, asset: Asset, differences: Sequence[str], unit: Unit) -> QueueItem | None:
    """Open the item that halts a token; None when it is halted, or a person has seen just this."""
    subject, note = token_subject(asset.chain_id, asset.token), "; ".join(differences)[:_LONGEST_NOTE]
    known = next((i for i in unit.queue_items_of([subject]) if i.kind == "token_halted"), None)
    if known is not None and (known.state == "open" or known.reason == _reason(note)):
        return None
    item = QueueItem(
        item_id=known.item_id if known else ports.ids.new_id(),
        kind="token_halted",
        subject=subject,
        reason=_reason(note),
        asset=asset,
        opened_at=ports.clock.now(),
        note=note,
        version=known.version + 1 if known else 1,
    )
    try:
        unit.apply([StoreQueueItem(item)])
    except AlreadyExists:
        return None
    ports.telemetry.count("tokens_halted", symbol=asset.symbol)
    facts = {"token": asset.token, "chain_id": asset.chain_id, "reason": item.reason}
    _log.error("nothing is sold for this token until a person has looked", extra=facts)
    return item


def _reason(note: str) -> str:
    return "decimals_changed" if "decimals" in note else "not_as_configured"
