"""The finance desk: the money as people of finance look at it. Drawn on the server; nothing is kept in the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from evmbilling.domain.books.receipt_documents import display
from evmbilling.domain.money import Asset
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.states import OrderStatus
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.routes import Call
from evmbilling.integrations.pages.desk_base import DeskTable, draw_desk, explorers, is_finance, order_rows, written
from evmbilling.integrations.pages.desk_health import readers_of

desk_pages = DeskTable()
_ORDERS_OF_A_DAY = 1000
_NEWEST = 10
_MOST = 100
_PAID = (OrderStatus.CONFIRMED, OrderStatus.FINAL)


class DayView(TypedDict):
    """What happened to the orders that were made today."""

    since: str
    orders: int
    whole: bool
    statuses: list[tuple[str, int]]
    paid: list[str]


class GlanceView(TypedDict):
    """The figures of today: what came in, MRR with how far today moved it, and who pays."""

    received: list[str]
    mrr: list[tuple[str, str]]
    customers: int


@desk_pages.get("")
def get_desk(call: Call) -> Answer:
    """Today at a glance."""
    admin, midnight = call.engine.admin(call.who), _midnight(call)
    queue = call.engine.finance(call.who).queue(limit=_MOST + 1)
    dead = call.engine.deliveries(call.who).list(state="dead", limit=_MOST + 1)
    return draw_desk(
        "desk_today.html",
        call,
        here="today",
        day=_day(call, midnight),
        glance=_glance(call, midnight) if is_finance(call) else None,
        waiting=_up_to(queue),
        dead=_up_to(dead),
        readers=readers_of(call),
        newest=order_rows(admin.orders(limit=_NEWEST)),
        explorers=explorers(call),
    )


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
        paid=[written(amount, asset) for asset, amount in paid.items()],
    )


def _glance(call: Call, since: datetime) -> GlanceView:
    face = call.engine.overview(call.who)
    found = face.summary(face.scope(by="day", since=since))
    return GlanceView(
        received=[written(row.received, row.asset) for row in found.money if row.received],
        mrr=[
            (written(row.end.base_units, row.asset), _change(row.end.base_units - row.start.base_units, row.asset))
            for row in found.mrr
        ],
        customers=found.customers,
    )


def _change(amount: int, asset: Asset) -> str:
    return f"{'+' if amount >= 0 else ''}{display(amount, asset.decimals)}"


def _up_to(found: Sequence[object]) -> str:
    return str(len(found)) if len(found) <= _MOST else f"{_MOST}+"
