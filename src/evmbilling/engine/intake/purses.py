"""Reading what a customer's money in one asset consists of."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.books.ledger import Account, customer_owner
from evmbilling.domain.money import Asset
from evmbilling.domain.payments.credit import Purse
from evmbilling.domain.selling.orders import Order
from evmbilling.ports.storage import Unit

_PAGE = 1000


def load_purse(unit: Unit, user_id: str, asset: Asset) -> Purse:
    """Read a customer's money in an asset; whoever decides on it has locked the customer."""
    orders = [order for order in all_orders_of(unit, user_id) if _same(order.asset, asset)]
    receipts = unit.receipts_of_orders([order.ledger_id for order in orders]) if orders else ()
    balances = [b for b in unit.balances([customer_owner(user_id)]) if b.account is Account.CUSTOMER_CREDIT]
    return Purse(
        held=sum(balance.net_credit for balance in balances if _same(balance.asset, asset)),
        orders=orders,
        receipts=[r for r in receipts if r.user_id == user_id and _same(r.asset, asset)],
        refunds=[r for r in unit.refunds_by(users=[user_id]) if _same(r.asset, asset)],
    )


def credited_assets(unit: Unit, user_id: str) -> Sequence[Asset]:
    """Return the assets in which a customer's account holds anything, by chain and token."""
    held = {
        (b.asset.chain_id, b.asset.token): b.asset
        for b in unit.balances([customer_owner(user_id)])
        if b.account is Account.CUSTOMER_CREDIT and b.net_credit > 0
    }
    return [held[key] for key in sorted(held)]


def all_orders_of(unit: Unit, user_id: str) -> list[Order]:
    """Return every order of a user, newest first."""
    found: list[Order] = []
    before: str | None = None
    while page := unit.orders_of_user(user_id, before=before, limit=_PAGE):
        found += page
        before = page[-1].ledger_id
    return found


def _same(one: Asset, other: Asset) -> bool:
    return (one.chain_id, one.token) == (other.chain_id, other.token)
