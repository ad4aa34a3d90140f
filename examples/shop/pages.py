"""The shop's own pages."""

from __future__ import annotations

import secrets
from decimal import Decimal
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .selling import PLAN, PRODUCT, Shop

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
SCRIPT = (HERE / "static" / "shop.js").read_bytes()
_TEMPLATES = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined)


def front(shop: Shop, user: str | None, form: str, *, wrong: str = "") -> str:
    """Draw the front page: signing in, or the plan and what has become of it."""
    values: dict[str, Any] = {"user": user, "form": form, "wrong": wrong, "once": secrets.token_urlsafe(18)}
    if user is not None:
        (plan,) = [plan for plan in shop.billing.plans() if plan.slug == PLAN]
        values |= {
            "plan": plan,
            "prices": [
                f"{Decimal(price.amount).scaleb(-price.asset.decimals):f} {price.asset.symbol}" for price in plan.prices
            ],
            "access": shop.billing.access(user, product=PRODUCT),
            "purchases": shop.purchases(user),
        }
    return _TEMPLATES.get_template("front.html").render(**values)


def library(left: int) -> str:
    """Draw the page that is paid for."""
    return _TEMPLATES.get_template("library.html").render(left=left)
