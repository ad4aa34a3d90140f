"""Opening the shop: the database, the engine, the plan."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.orm import sessionmaker

from evmbilling import Actor, BillingEngine, BillingSettings, Role, sqlite

from .migrating import migrate
from .selling import LIMIT, PLAN, PRODUCT, Shop

OWNER = Actor("shop-owner", frozenset({Role.BILLING_ADMIN, Role.FINANCE_OPS}))


def open_shop(settings: BillingSettings, *, secret: str, origin: str) -> Shop:
    """Open the shop on the database of the settings; its tables and billing's are brought up to date."""
    url = settings.database_url.get_secret_value()
    host = sa.create_engine(url)
    if host.dialect.name == "sqlite":
        sqlite.configure(host)
    migrate(host)
    return Shop(
        billing=BillingEngine.from_settings(settings),
        sessions=sessionmaker(host),
        settings=settings,
        secret=secret,
        origin=origin,
    )


def put_on_sale(shop: Shop, *, network: str, chain_id: int, token: str, decimals: int, symbol: str, price: str) -> None:
    """Sell the plan for a token; what is sold already stays."""
    admin = shop.billing.admin(OWNER)
    if any(plan.slug == PLAN for plan in admin.plans()):
        return
    asked = {
        "network": network,
        "chain_id": chain_id,
        "token": token,
        "decimals": decimals,
        "symbol": symbol,
        "display": price,
    }
    admin.create_plan(
        slug=PLAN,
        name="Reader",
        product=PRODUCT,
        interval="month",
        prices=[asked],
        gateway_slug="main",
        contract_slug="checkout",
        limits={LIMIT: 5},
    )
