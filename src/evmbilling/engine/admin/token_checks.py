"""Comparing tokens with what is configured: one that changed stands still until a person has looked at it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial

import attrs

from evmbilling.domain.catalogue.catalogue import Network, PaymentGateway, Price, SubscriptionPlan
from evmbilling.domain.decisions import StoreQueueItem
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import DECIMALS_UNREAD, QueueItem, token_subject
from evmbilling.engine.admin.bindings import every_version
from evmbilling.engine.admin.token_decimals import assets_by_token, token_item
from evmbilling.engine.context import Ports, Runner
from evmbilling.errors import AlreadyExists, ConfigurationError, ProviderError
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.checks")
_LONGEST_NOTE = 500
_KEEPS_A_FEE = "keeps_a_fee"


def check_tokens(ports: Ports, runner: Runner) -> Sequence[QueueItem]:
    """Ask the chains about every token that is sold in; see :meth:`evmbilling.engine.core.Engine.check_tokens`."""
    prices, networks = runner.read(_sold)
    halted: list[QueueItem] = []
    good: list[Asset] = []
    bad: set[str] = set()
    for plan, price in prices:
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
            bad.add(_subject(price.asset))
            found = runner.write(partial(_halt, ports, price.asset, differences))
            halted += [found] if found is not None else []
        else:
            good.append(price.asset)
    for asset in good:
        if _subject(asset) not in bad:
            runner.write(partial(_let_go, asset))
    return halted


def unread_tokens(
    unit: Unit, plan: SubscriptionPlan, read: Collection[Asset], *, now: datetime, new_id: Callable[[], str]
) -> Sequence[StoreQueueItem]:
    """Return what keeps tokens of a plan that is saved from being sold in, until a node has told their decimals.

    A token that a plan was sold in before is known: its decimals were read, or it stands still for the same reason.

    Args:
        unit: before the plan is there. plan: the version that is saved.
        read: the tokens whose decimals a node has just told.
        now, new_id: of the items.

    """
    found: list[StoreQueueItem] = []
    unread = {p.asset for p in plan.prices if not p.asset.is_native and p.asset not in read}
    for asset in sorted(unread, key=lambda a: (a.chain_id, a.token)):
        priced = {known.token for known in unit.priced_assets(asset.chain_id)}
        if asset.token in priced or token_item(unit, asset) is not None:
            continue
        item = QueueItem(
            item_id=new_id(),
            kind="token_halted",
            subject=_subject(asset),
            reason=DECIMALS_UNREAD,
            asset=asset,
            opened_at=now,
            note=f"no node has told the decimals of {asset.token} yet, {asset.decimals} are configured",
        )
        found.append(StoreQueueItem(item))
    return found


def _sold(unit: Unit) -> tuple[Sequence[tuple[SubscriptionPlan, Price]], Mapping[str, Network]]:
    """Return a plan and price for each token of every version: running subscriptions renew in the token of theirs.

    Decimals that were corrected since are not compared.
    """
    networks = unit.networks()
    known = {n.chain_id: assets_by_token(unit, n.chain_id) for n in networks}
    found = [
        (plan, price)
        for plan, price in _one_of_each(every_version(unit))
        if known[price.asset.chain_id][price.asset.token].decimals == price.asset.decimals
    ]
    return found, {n.name: n for n in networks}


def _gateway(slug: str, unit: Unit) -> PaymentGateway | None:
    return unit.gateway(slug)


def _one_of_each(plans: Sequence[SubscriptionPlan]) -> Sequence[tuple[SubscriptionPlan, Price]]:
    """Return one plan and price for each way in which a token is pinned: the highest, which shows the smallest fee."""
    found: dict[Asset, tuple[SubscriptionPlan, Price]] = {}
    for plan in plans:
        for price in plan.prices:
            known = found.get(price.asset)
            if not price.asset.is_native and (known is None or price.amount > known[1].amount):
                found[price.asset] = (plan, price)
    return list(found.values())


def _halt(ports: Ports, asset: Asset, differences: Sequence[str], unit: Unit) -> QueueItem | None:
    """Open the item that halts a token; None when it is halted, or a person has seen just this."""
    note = "; ".join(differences)[:_LONGEST_NOTE]
    known = token_item(unit, asset)
    was_read = known is not None and known.reason != DECIMALS_UNREAD and known.state != "withdrawn"
    if known is not None and was_read and (known.state == "open" or known.reason == _reason(note)):
        return None
    item = QueueItem(
        item_id=known.item_id if known else ports.ids.new_id(),
        kind="token_halted",
        subject=_subject(asset),
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


def _let_go(asset: Asset, unit: Unit) -> None:
    """Sell in a token whose decimals are as configured, where it stood still only because nobody had read them.

    A fee that a person has seen is forgotten once it is gone: when it comes back, that is another one.
    """
    known = token_item(unit, asset)
    if known is not None and (known.reason, known.state) in ((DECIMALS_UNREAD, "open"), (_KEEPS_A_FEE, "decided")):
        unit.apply([StoreQueueItem(attrs.evolve(known, state="withdrawn", version=known.version + 1))])


def _reason(note: str) -> str:
    if "decimals" in note:
        return "decimals_changed"
    return _KEEPS_A_FEE if "keeps a fee" in note else "not_as_configured"


def _subject(asset: Asset) -> str:
    return token_subject(asset.chain_id, asset.token)
