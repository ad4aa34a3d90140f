"""The finance desk: the money as people of finance look at it. Drawn on the server; nothing is kept in the page."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypedDict
from urllib.parse import urlencode

import attrs

from evmbilling.domain.actors import Role
from evmbilling.domain.money import Asset, from_base_units
from evmbilling.domain.orders import Order
from evmbilling.domain.searching import OrderFilter
from evmbilling.domain.states import OrderStatus
from evmbilling.errors import InputError, NotFound
from evmbilling.integrations.http.admin_money import conditions
from evmbilling.integrations.http.admin_views import admin_order_view
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of
from evmbilling.integrations.http.routes import Call, Parameter, RouteTable
from evmbilling.integrations.http.views import order_view
from evmbilling.integrations.pages.desk_health import readers_of
from evmbilling.integrations.pages.rendering import DESK, draw_desk

desk_pages = RouteTable("desk", access="finance_ops", prefix="/desk")
HTML = "text/html; charset=utf-8"
FILTERS = ("status", "network", "user", "plan", "wallet", "tx", "from", "before")
_ORDERS_OF_A_DAY = 1000
_NEWEST = 10
_DEAD = 100
_PAID = (OrderStatus.CONFIRMED, OrderStatus.FINAL)


class DayView(TypedDict):
    """What happened to the orders that were made today."""

    since: str
    orders: int
    whole: bool
    statuses: list[tuple[str, int]]
    paid: list[str]


@desk_pages.get("", produces=HTML)
def get_desk(call: Call) -> Answer:
    """Today at a glance."""
    admin = call.engine.admin(call.who)
    queue = call.engine.finance(call.who).queue(limit=_DEAD + 1)
    dead = call.engine.deliveries(call.who).list(state="dead", limit=_DEAD + 1)
    return draw_desk(
        "desk_today.html",
        call,
        here="today",
        day=_day(call, _midnight(call)),
        waiting=_up_to(len(queue), _DEAD),
        dead=_up_to(len(dead), _DEAD),
        readers=readers_of(call),
        newest=[_row(order) for order in admin.orders(limit=_NEWEST)],
    )


@desk_pages.get(
    "/orders", produces=HTML, parameters=(*PAGE, *(Parameter(name=name, text="A condition.") for name in FILTERS))
)
def get_desk_orders(call: Call) -> Answer:
    """Transactions, newest first, with search and filters."""
    call = _filled_in(call)
    rows, asked = limit_of(call), {name: query_of(call, name) or "" for name in FILTERS}
    orders, wrong = [], None
    try:
        orders = list(call.engine.admin(call.who).orders(conditions(call), before=cursor_of(call), limit=rows + 1))
    except (InputError, NotFound) as error:
        wrong = error
    given = {name: value for name, value in asked.items() if value}
    more = {**given, "cursor": make_cursor(orders[rows - 1].ledger_id)} if len(orders) > rows else None
    return draw_desk(
        "desk_orders.html",
        call,
        here="orders",
        status=HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK,
        wrong=wrong,
        asked=asked,
        statuses=[str(status) for status in OrderStatus],
        networks=[network.name for network in call.engine.admin(call.who).networks()],
        orders=[_row(order) for order in orders[:rows]],
        more=None if more is None else f"{DESK}/orders?{urlencode(more)}",
    )


@desk_pages.get("/orders/{ledger_id}", produces=HTML, errors=(NotFound,))
def get_desk_order(call: Call) -> Answer:
    """One order, with its evidence on chain."""
    offer = call.engine.order(call.param("ledger_id"))
    progress = call.engine.progress(offer.ledger_id)
    shown = admin_order_view(offer, list(call.engine.receipts(offer.ledger_id)))
    items = [item for item in call.engine.finance(call.who).queue(limit=1000) if item.ledger_id == offer.ledger_id]
    return draw_desk(
        "desk_order.html",
        call,
        here="orders",
        shown=shown,
        lines=[{"text": line.text, "display": _signed(line.amount, offer.asset)} for line in offer.lines],
        have=progress.confirmations.have,
        rule=progress.confirmations.rule,
        explorer=None if progress.explorer_url is None else progress.explorer_url.rstrip("/"),
        items=items,
        entries=call.engine.admin(call.who).audit(object_=f"order:{offer.ledger_id}", limit=100),
    )


def may_approve(call: Call) -> bool:
    """Whether who asks may agree as a second person."""
    return Role.BILLING_ADMIN in call.who.roles


def _filled_in(call: Call) -> Call:
    """Return a call without the fields of its form that were left empty."""
    query = tuple((name, value.strip()) for name, value in call.request.query if value.strip())
    return attrs.evolve(call, request=attrs.evolve(call.request, query=query))


def _midnight(call: Call) -> datetime:
    return call.engine.now().replace(hour=0, minute=0, second=0, microsecond=0)


def _day(call: Call, since: datetime) -> DayView:
    orders = call.engine.admin(call.who).orders(OrderFilter(created_from=since), limit=_ORDERS_OF_A_DAY)
    paid: Counter[Asset] = Counter()
    for order in orders:
        if order.status in _PAID:
            paid[order.asset] += order.amount
    return DayView(
        since=since.date().isoformat(),
        orders=len(orders),
        whole=len(orders) < _ORDERS_OF_A_DAY,
        statuses=sorted(Counter(str(order.status) for order in orders).items()),
        paid=[f"{from_base_units(amount, asset.decimals)} {asset.symbol}" for asset, amount in paid.items()],
    )


def _row(order: Order) -> dict[str, Any]:
    return {**order_view(order), "user_id": order.user_id}


def _up_to(count: int, most: int) -> str:
    return str(count) if count <= most else f"{most}+"


def _signed(amount: int, asset: Asset) -> str:
    return ("-" if amount < 0 else "") + from_base_units(abs(amount), asset.decimals)
