"""The desk's transactions: found by whatever people have at hand, each with its evidence and its papers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs
from attrs import field, frozen

from evmbilling.domain.addresses import parse_address
from evmbilling.domain.books.paper_words import paper_words
from evmbilling.domain.books.receipt_documents import parse_number
from evmbilling.domain.identity import parse_hash
from evmbilling.domain.selling.orders import DEPOSIT, Order
from evmbilling.domain.selling.progress import Confirmations
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.states import PAID_ORDERS, OrderStatus
from evmbilling.engine.books.receipt_documents import NumberedDocument
from evmbilling.engine.requests import is_ledger_id, parse_words
from evmbilling.errors import BillingError, Conflict, InputError, NotFound
from evmbilling.integrations.http.admin_views import admin_order_view
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.overview import printed
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of
from evmbilling.integrations.http.routes import Call, Parameter
from evmbilling.integrations.http.views import refund_view
from evmbilling.integrations.pages.desk_base import (
    DeskTable,
    acted,
    desk_link,
    draw_desk,
    explorers,
    may_approve,
    need_admin,
    order_rows,
    read_day,
    written,
)
from evmbilling.integrations.pages.desk_refunds import asked_refund, refund_wish
from evmbilling.integrations.pages.forms import read_form, see_other
from evmbilling.integrations.pages.words import Words, desk_words

order_pages = DeskTable()
FILTERS = ("q", "status", "network", "token", "since", "until")
_REFUND_FIELDS = ("amount", "reason", "via", "end")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}", re.ASCII)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_PAPERS = 100


@frozen(kw_only=True)
class _Found:
    """What a search comes to: orders, or the one address that the text names."""

    orders: Sequence[Order] = ()
    address: str | None = None
    more: bool = field(default=False)


@order_pages.get("/orders", parameters=(*PAGE, *(Parameter(name=name, text="A condition.") for name in FILTERS)))
def get_desk_orders(call: Call) -> Answer:
    """Transactions, newest first, with search and filters."""
    asked = {name: (query_of(call, name) or "").strip() for name in FILTERS}
    found, wrong = _Found(), None
    try:
        found = _search(call, asked)
    except (InputError, NotFound) as error:
        wrong = error
    if found.address is not None:
        return see_other(found.address)
    given = {name: value for name, value in asked.items() if value}
    last = make_cursor(found.orders[-1].ledger_id) if found.more else None
    words, admin = desk_words(call.language), call.engine.admin(call.who)
    symbols = {price.asset.symbol for plan in admin.plans() for price in plan.prices} | {asked["token"]} - {""}
    return draw_desk(
        "desk_orders.html",
        call,
        here="orders",
        wrong=wrong,
        asked=asked,
        statuses=[(str(status), words.term("status", status)) for status in OrderStatus],
        networks=[(network.name, network.name) for network in admin.networks()],
        tokens=[(symbol, symbol) for symbol in sorted(symbols)],
        orders=order_rows(found.orders),
        explorers=explorers(call),
        more=None if last is None else desk_link(call, "/orders", **given, cursor=last),
    )


@order_pages.get("/orders/{ledger_id}", errors=(NotFound,))
def get_desk_order(call: Call) -> Answer:
    """One order, with its evidence on chain, its papers and its refunds."""
    return order_page(call)


@order_pages.post("/orders/{ledger_id}/refund", errors=(NotFound, Conflict))
def ask_order_refund(call: Call) -> Answer:
    """Ask to give back an order's money, all of it or a part."""
    ledger_id, form = call.param("ledger_id"), read_form(call, *_REFUND_FIELDS)

    def work() -> str:
        desk = call.engine.refunds(call.who)
        wish = refund_wish(form, desk.of_order(ledger_id).asset)
        return asked_refund(call, desk.request(ledger_id=ledger_id, **wish))

    return acted(work, lambda error: order_page(call, wrong=error, typed=form))


@order_pages.post("/orders/{ledger_id}/mark-paid", errors=(NotFound, Conflict))
def mark_order_paid(call: Call) -> Answer:
    """Say that an order was paid another way."""
    ledger_id, form = call.param("ledger_id"), read_form(call, "reason")

    def work() -> str:
        need_admin(call)
        call.engine.finance(call.who).mark_paid(ledger_id, reason=form.get("reason", ""))
        return desk_link(call, f"/orders/{ledger_id}", done="mark_paid")

    return acted(work, lambda error: order_page(call, wrong=error))


@order_pages.get("/receipts/{number}", errors=(NotFound,))
def get_desk_receipt(call: Call) -> Answer:
    """A numbered receipt, credit note or correction as a page to print; it loads nothing."""
    return printed(call.engine.receipt_document(call.param("number")), call)


def _search(call: Call, asked: Mapping[str, str]) -> _Found:
    """Return what meets all conditions.

    Raises:
        InputError, NotFound: one of them cannot be used.

    """
    until = read_day(call, "until", "UTC")
    status = asked["status"]
    wanted = OrderFilter(
        statuses=tuple(OrderStatus(word) for word in parse_words((status,), OrderStatus, field="status"))
        if status
        else (),
        network=asked["network"] or None,
        symbol=asked["token"] or None,
        created_from=read_day(call, "since", "UTC"),
        created_before=None if until is None else until + timedelta(days=1),
    )
    named = _named(call, asked["q"])
    if isinstance(named, str):
        return _Found(address=named)
    rows = limit_of(call)
    orders = call.engine.admin(call.who).orders(attrs.evolve(wanted, **named), before=cursor_of(call), limit=rows + 1)
    return _Found(orders=orders[:rows], more=len(orders) > rows)


def _named(call: Call, text: str) -> str | dict[str, Any]:
    """Return what a text that people paste means: the one address that it names, or a condition.

    Order numbers, receipt numbers, transaction hashes and wallets are known by how they look; everything else is a
    user, or a plan where no user is called so.
    """
    if not text:
        return {}
    if is_ledger_id(text):
        return desk_link(call, f"/orders/{text}")
    if _HASH.fullmatch(text):
        return {"tx_hash": parse_hash(text, field="q")}
    if _ADDRESS.fullmatch(text):
        return {"wallet": parse_address(text, field="q")}
    try:
        parse_number(text, field="q")
        paper = call.engine.receipt_document(text).document
    except InputError:
        known = call.engine.admin(call.who).orders(OrderFilter(user_id=text), limit=1)
        return {"user_id": text} if known else {"plan_slug": text}
    return desk_link(call, f"/orders/{paper.ledger_id}" if paper.ledger_id else f"/receipts/{paper.number}")


def order_page(call: Call, wrong: BillingError | None = None, typed: Mapping[str, str] | None = None) -> Answer:
    """Draw the page of an order; ``wrong`` stood in the way of what was typed."""
    offer = call.engine.order(call.param("ledger_id"))
    progress, refunds = call.engine.progress(offer.ledger_id), call.engine.refunds(call.who).of_order(offer.ledger_id)
    shown = admin_order_view(offer, list(call.engine.receipts(offer.ledger_id)))
    items = [item for item in call.engine.finance(call.who).queue(limit=1000) if item.ledger_id == offer.ledger_id]
    papers = paper_words(call.language)
    deposit = call.engine.deposits(call.who).deposit(offer.ledger_id) if offer.order.rail == DEPOSIT else None
    return draw_desk(
        "desk_order.html",
        call,
        here="orders",
        wrong=wrong,
        shown=shown,
        typed={name: (typed or {}).get(name, "") for name in _REFUND_FIELDS},
        deposit=deposit,
        next_look=None if deposit is None or deposit.next_at is None else deposit.next_at.isoformat(),
        seen=written(deposit.held, offer.asset) if deposit is not None and deposit.held else None,
        lines=[
            {"text": papers.line(line.kind, line.text), "display": written(line.amount, offer.asset)}
            for line in offer.lines
        ],
        have=progress.confirmations.have,
        rule=_rule(progress.confirmations, desk_words(call.language)),
        explorer=None if progress.explorer_url is None else progress.explorer_url.rstrip("/"),
        papers=list(_papers(call, offer.order)),
        refunds=[refund_view(refund) for refund in refunds.refunds],
        refundable=written(refunds.left, refunds.asset) if refunds.left else None,
        markable=may_approve(call) and offer.order.manual is None and offer.order.status not in PAID_ORDERS,
        items=items,
        entries=call.engine.admin(call.who).audit(object_=f"order:{offer.ledger_id}", limit=100),
    )


def _rule(confirmations: Confirmations, words: Words) -> str:
    """Return when money counts, in words."""
    needed = confirmations.needed
    return words.term("rule", confirmations.rule) if needed is None else words("rule_depth", n=needed)


def _papers(call: Call, order: Order) -> Iterator[NumberedDocument]:
    """Give an order's numbered documents, the newest first: none of them is older than the order."""
    before = None
    while page := call.engine.receipt_documents(order.user_id, before=before, limit=_PAPERS):
        for paper in page:
            if paper.document.issued_at < order.created_at:
                return
            if paper.document.ledger_id == order.ledger_id:
                yield paper
        before = page[-1].number
