"""Which decimals a token has: one number for all plans, corrected where it was mistyped and nothing was ordered yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

import attrs

from evmbilling.domain.catalogue.catalogue import SubscriptionPlan
from evmbilling.domain.decisions import StoreQueueItem
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.finance import DECIMALS_UNREAD, QueueItem, token_subject
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.engine.admin.bindings import every_version
from evmbilling.errors import InputError
from evmbilling.ports.storage import Unit

_PAGE = 500


def assets_by_token(unit: Unit, chain_id: int) -> Mapping[str, Asset]:
    """Return what each token is counted in on a chain, by its address; what was mistyped before is left out."""
    priced = unit.priced_assets(chain_id)
    found = {asset.token: asset for asset in reversed(priced)}
    for token in {asset.token for asset in priced if asset.decimals != found[asset.token].decimals}:
        item = token_item(unit, found[token])
        if item is not None and item.asset is not None:
            found[token] = item.asset
    return found


def token_item(unit: Unit, asset: Asset) -> QueueItem | None:
    """Return the item that says, or said, that a token stands still; its asset has the decimals that hold."""
    items = unit.queue_items_of([token_subject(asset.chain_id, asset.token)])
    return next((item for item in items if item.kind == "token_halted"), None)


def check_decimals(unit: Unit, plan: SubscriptionPlan, read: Collection[Asset] | None) -> Sequence[Asset]:
    """Return the assets of a plan whose decimals take the place of mistyped ones.

    Args:
        unit: before the plan is there. plan: the version that is saved.
        read: the tokens whose decimals a node has just told; None before anybody was asked.

    Raises:
        InputError: a token has other decimals in other plans that nobody doubts, or in which something was ordered, or
            no node has just told the new ones; names the price.

    """
    corrected: list[Asset] = []
    for at, asset in enumerate(price.asset for price in plan.prices):
        known = assets_by_token(unit, asset.chain_id).get(asset.token)
        if known is None or known.decimals == asset.decimals:
            continue
        if not _is_doubted(unit, known) or _was_ordered(unit, known):
            raise InputError(f"{asset.token} is priced with {known.decimals} decimals elsewhere", field=f"prices[{at}]")
        if read is not None and asset not in read:
            told = f"{asset.token} is priced with {known.decimals} decimals, and no node has told that it has others"
            raise InputError(told, field=f"prices[{at}]")
        corrected.append(asset)
    return corrected


def corrections(
    unit: Unit, assets: Sequence[Asset], *, now: datetime, new_id: Callable[[], str]
) -> Sequence[StoreQueueItem]:
    """Return what notes which decimals hold, and lets a token go that stood still for the others.

    Args:
        assets: from :func:`check_decimals`. now, new_id: of new items.

    """
    found: list[StoreQueueItem] = []
    for asset in assets:
        known = token_item(unit, asset)
        item = QueueItem(
            item_id=known.item_id if known else new_id(),
            kind="token_halted",
            subject=token_subject(asset.chain_id, asset.token),
            reason=DECIMALS_UNREAD,  # a change that comes later is none that a person has seen
            asset=asset,
            opened_at=known.opened_at if known else now,
            state="withdrawn",
        )
        found.append(StoreQueueItem(attrs.evolve(item, version=known.version + 1 if known else 1)))
    return found


def _is_doubted(unit: Unit, asset: Asset) -> bool:
    """Whether the chain has not told, or has denied, that a token has these decimals."""
    item = token_item(unit, asset)
    return item is not None and item.state != "withdrawn"


def _was_ordered(unit: Unit, asset: Asset) -> bool:
    """Whether there is an order in an asset with just these decimals."""

    def same(other: Asset) -> bool:
        return (other.chain_id, other.token, other.decimals) == (asset.chain_id, asset.token, asset.decimals)

    for slug in sorted({p.slug for p in every_version(unit) if any(same(price.asset) for price in p.prices)}):
        page = unit.find_orders(OrderFilter(plan_slug=slug), limit=_PAGE)
        while page:
            if any(same(order.asset) for order in page):
                return True
            page = unit.find_orders(OrderFilter(plan_slug=slug), before=page[-1].ledger_id, limit=_PAGE)
    return False
