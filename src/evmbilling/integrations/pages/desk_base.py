"""What all pages of the finance desk share: how they are declared, drawn and linked, and how a form is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from evmbilling.domain.actors import Role
from evmbilling.domain.books.receipt_documents import display
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.orders import Order
from evmbilling.errors import BillingError, InputError, PermissionDenied
from evmbilling.integrations.http.languages import LANGUAGES, chosen_language
from evmbilling.integrations.http.messages import Answer, Pairs
from evmbilling.integrations.http.problems import status_of
from evmbilling.integrations.http.reading import query_of
from evmbilling.integrations.http.routes import LANG, Call, H, Parameter, RouteTable
from evmbilling.integrations.http.views import order_view
from evmbilling.integrations.pages.forms import see_other
from evmbilling.integrations.pages.rendering import HEADERS, PAGES_PREFIX, templates
from evmbilling.integrations.pages.words import desk_words

DESK = f"{PAGES_PREFIX}/desk"
HTML = "text/html; charset=utf-8"
# Forms of the desk say where they come from; with the API's "no-referrer" browsers would send the origin "null".
DESK_HEADERS: Pairs = (*HEADERS, ("Referrer-Policy", "same-origin"))
_PLACES = ("", "/figures", "/orders", "/queue", "/refunds", "/deposits", "/health")
_ASKED = (*LANG, Parameter(name="done", text="What has just been done, to be told on the page."))


class DeskTable(RouteTable):
    """Pages for finance, which all know in which language they are asked for."""

    def __init__(self) -> None:
        super().__init__("desk", access="finance_ops", prefix="/desk")

    def _declare(self, method: str, path: str, more: dict[str, Any]) -> Callable[[H], H]:
        return super()._declare(
            method, path, {"produces": HTML} | more | {"parameters": (*more.get("parameters", ()), *_ASKED)}
        )


def draw_desk(template: str, call: Call, *, here: str, wrong: BillingError | None = None, **values: Any) -> Answer:
    """Return a page of the finance desk, in the language of who asks.

    Args:
        template: its file.
        call: who asks.
        here: which part of the desk it is.
        wrong: what stood in the way of what was asked; it is told, and decides the status of the answer.
        values: for the template.

    """
    words = desk_words(call.language)
    shown = {
        "static": f"{PAGES_PREFIX}/static",
        "here": here,
        "places": [place for place in _PLACES if place != "/figures" or is_finance(call)],
        "shop": call.options.shop_name,
        "who": call.who.user_id,
        "t": words,
        "chosen": chosen_language(call.request),
        "languages": [(code, name, _in_language(call, code)) for code, name in LANGUAGES.items()],
        "link": partial(desk_link, call),
        "done": words.said.get(f"done_{query_of(call, 'done')}"),
        "wrong": None if wrong is None else words.problem(wrong),
    }
    body = templates().get_template(template).render(**shown, **values).encode()
    return Answer(value=body, status=HTTPStatus.OK if wrong is None else status_of(wrong), headers=DESK_HEADERS)


def desk_link(call: Call, path: str = "", **query: object) -> str:
    """Return an address of the desk, in the language that was chosen; parameters that are None are left out.

    ``from_`` stands for ``from``, which is no name in Python.
    """
    asked = {name.rstrip("_"): value for name, value in query.items() if value is not None}
    chosen = chosen_language(call.request)
    words = urlencode(asked if chosen is None else asked | {"lang": chosen})
    return f"{DESK}{path}?{words}" if words else f"{DESK}{path}"


def acted(work: Callable[[], str], again: Callable[[BillingError], Answer]) -> Answer:
    """Do what a form asks for, and show what came of it.

    Args:
        work: what it asks for; returns the address that shows what was done.
        again: draws the page of the form once more, with what stood in the way.

    Raises:
        BillingError: the fault is ours: nobody at the desk can do anything about it.

    """
    try:
        return see_other(work())
    except BillingError as error:
        if status_of(error) is HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        return again(error)


def may_approve(call: Call) -> bool:
    """Whether who asks may agree as a second person."""
    return Role.BILLING_ADMIN in call.who.roles


def is_finance(call: Call) -> bool:
    """Whether who asks sees figures and decides; who only configures looks at the rest."""
    return Role.FINANCE_OPS in call.who.roles


def need_admin(call: Call) -> None:
    """Refuse who may only look after money.

    Raises:
        PermissionDenied: the actor is no ``billing_admin``.

    """
    if not may_approve(call):
        raise PermissionDenied("this needs the role billing_admin", field="actor")


def written(amount: int, asset: Asset) -> str:
    """Write an amount as people read it, with its symbol; it may be negative."""
    return f"{display(amount, asset.decimals)} {asset.symbol}"


def explorers(call: Call) -> dict[str, str]:
    """Return where people look at each network that has such a place, without a slash at the end."""
    networks = call.engine.admin(call.who).networks()
    return {network.name: network.explorer_url.rstrip("/") for network in networks if network.explorer_url}


def order_rows(orders: Iterable[Order]) -> list[dict[str, Any]]:
    """Return orders as lines of a table, with whose they are."""
    return [{**order_view(order), "user_id": order.user_id} for order in orders]


def read_day(call: Call, name: str, zone: str) -> datetime | None:
    """Return where the day of a zone begins that a parameter names; None when it names none.

    Raises:
        InputError: it is no day.

    """
    day = (query_of(call, name) or "").strip()
    if not day:
        return None
    try:
        return datetime.combine(date.fromisoformat(day), time(), ZoneInfo(zone))
    except (ValueError, OverflowError):
        raise InputError("a day is written 2030-01-31", field=name) from None


def _in_language(call: Call, language: str) -> str:
    """Return the address of this page in another language; of a form's page where a form was sent."""
    path = call.request.path.partition(DESK)[2]
    if call.request.method == "POST":
        path = path.rpartition("/")[0]
    kept = {name: value for name, value in call.request.query if name not in ("lang", "done")}
    return f"{DESK}{quote(path)}?{urlencode(kept | {'lang': language})}"
