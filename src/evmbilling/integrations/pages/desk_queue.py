"""The desk's queue: what a person must decide, and the forms by which it is decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypedDict

from evmbilling.domain.payments.finance import QueueItem
from evmbilling.engine.books.finance import Finance
from evmbilling.engine.books.finance_rulings import RULINGS
from evmbilling.errors import BillingError, Conflict, InputError, NotFound
from evmbilling.integrations.http.admin_views import queue_item_view, receipt_view
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of
from evmbilling.integrations.http.routes import Call, Parameter
from evmbilling.integrations.pages.desk_base import (
    DeskTable,
    acted,
    desk_link,
    draw_desk,
    explorers,
    is_finance,
    may_approve,
)
from evmbilling.integrations.pages.desk_refunds import asked_refund
from evmbilling.integrations.pages.forms import read_form
from evmbilling.integrations.pages.words import Words, desk_words

queue_pages = DeskTable()
_STATES = ("open", "decided", "withdrawn", "all")
_MOST_OPEN = 1000
_Decide = Callable[[Finance, str, dict[str, str], str], QueueItem]
_DECISIONS: Mapping[str, _Decide] = {
    "assign": lambda desk, item, form, note: desk.assign(item, form["ledger_id"], note=note),
    "credit": lambda desk, item, form, note: desk.credit(item, form["user_id"], note=note),
    "write_off": lambda desk, item, _, note: desk.write_off(item, note=note),
    "release": lambda desk, item, _, note: desk.release(item, note=note),
    "acknowledge": lambda desk, item, _, note: desk.acknowledge(item, note=note),
    "accept": lambda desk, item, _, note: desk.accept(item, note=note),
    "reverse": lambda desk, item, _, note: desk.reverse(item, note=note),
    "approve_write_off": lambda desk, item, _, note: desk.approve_write_off(item, note=note),
}
"""How each decision is made; money that goes back is asked for where refunds are."""
ACTIONS = (*_DECISIONS, "refund")
NEEDS: Mapping[str, str] = {"assign": "ledger_id", "credit": "user_id"}


class WaitsView(TypedDict):
    """Who has to agree to what was decided, and where."""

    text: str
    address: str | None


@queue_pages.get("/queue", parameters=(*PAGE, Parameter(name="state", text="`open`, `decided`, `withdrawn`, `all`.")))
def get_desk_queue(call: Call) -> Answer:
    """What a person must decide, oldest first."""
    rows, state = limit_of(call), query_of(call, "state") or "open"
    items = call.engine.finance(call.who).queue(
        state=None if state == "all" else state, after=cursor_of(call) or "", limit=rows + 1
    )
    last = make_cursor(items[rows - 1].item_id) if len(items) > rows else None
    return draw_desk(
        "desk_queue.html",
        call,
        here="queue",
        state=state,
        states=_STATES,
        items=[queue_item_view(item) for item in items[:rows]],
        more=None if last is None else desk_link(call, "/queue", state=state, cursor=last),
    )


@queue_pages.get("/queue/{item_id}", errors=(NotFound,))
def get_desk_item(call: Call) -> Answer:
    """Something to decide, with the money that it is about and what can be decided."""
    return _item_page(call)


@queue_pages.post("/queue/{item_id}/{action}", errors=(NotFound, Conflict))
def decide_item(call: Call) -> Answer:
    """Decide."""
    action = call.param("action")
    if action not in ACTIONS:
        raise NotFound("there is no such decision", field="action")
    asks = "reason" if action == "refund" else "note"
    form = read_form(call, asks, *([NEEDS[action]] if action in NEEDS else []))
    return acted(
        lambda: _decide(call, action, form), lambda error: _item_page(call, wrong=error, tried=action, typed=form)
    )


def _decide(call: Call, action: str, form: dict[str, str]) -> str:
    """Decide, and return the address that shows it."""
    item_id, desk = call.param("item_id"), call.engine.finance(call.who)
    if action == "refund":
        item = desk.item(item_id)
        refund = call.engine.refunds(call.who).request(receipt_id=item.receipt_id, reason=form.get("reason", ""))
        return asked_refund(call, refund)
    needed = NEEDS.get(action)
    if needed is not None and needed not in form:
        raise InputError("please say which one", field=needed)
    decided = _DECISIONS[action](desk, item_id, form, form.get("note", ""))
    return desk_link(call, f"/queue/{item_id}", done="asked" if decided.state == "open" else "decided")


def _item_page(
    call: Call, wrong: BillingError | None = None, tried: str = "", typed: Mapping[str, str] | None = None
) -> Answer:
    item = call.engine.finance(call.who).item(call.param("item_id"))
    receipts = [] if item.ledger_id is None else call.engine.receipts(item.ledger_id)
    unmatched = call.engine.admin(call.who).unmatched_receipts(limit=_MOST_OPEN)
    money = next((r for r in [*receipts, *unmatched] if r.receipt_id == item.receipt_id), None)
    names = {network.chain_id: network.name for network in call.engine.admin(call.who).networks()}
    network = None if money is None else names.get(money.asset.chain_id)
    return draw_desk(
        "desk_item.html",
        call,
        here="queue",
        wrong=wrong,
        item=queue_item_view(item),
        money=None if money is None else receipt_view(money),
        explorer=None if network is None else explorers(call).get(network),
        waits=_waits(call, item, desk_words(call.language)),
        actions=[(name, NEEDS.get(name)) for name in _allowed(call, item)],
        tried=tried,
        typed=typed or {},
    )


def _allowed(call: Call, item: QueueItem) -> list[str]:
    """Return the decisions that an item takes; one that waits for a second person takes none here."""
    if item.state != "open" or item.ruling is not None:
        return []
    if item.kind == "write_off_approval":
        return ["approve_write_off"] if may_approve(call) and not _asked_by(call, item) else []
    takes = RULINGS.get(item.kind, frozenset()) if is_finance(call) else ()
    # What was taken for an order that was marked as paid, and buys nothing, did not come here: it goes back there.
    return [name for name in ACTIONS if name in takes and (name != "refund" or item.receipt_id is not None)]


def _waits(call: Call, item: QueueItem, words: Words) -> WaitsView | None:
    """Return who has to agree: to what was decided here, or to what this item asks and who looks at it cannot."""
    if item.state != "open":
        return None
    if item.refund_id is not None:
        return WaitsView(text=words("approve_there"), address=desk_link(call, f"/refunds/{item.refund_id}"))
    if item.ruling is not None:
        other = next((i for i in _beside(call, item) if i.kind == "write_off_approval"), None)
        address = None if other is None else desk_link(call, f"/queue/{other.item_id}")
        return WaitsView(text=words("waits_second"), address=address)
    if _allowed(call, item):
        return None
    needed = "needs_admin" if item.kind == "write_off_approval" else "needs_finance"
    return WaitsView(text=words("asked_yourself" if _asked_by(call, item) else needed), address=None)


def _asked_by(call: Call, item: QueueItem) -> bool:
    """Whether who looks at an approval is who asked for it."""
    return any(i.ruling == "write_off" and i.decided_by == call.who.user_id for i in _beside(call, item))


def _beside(call: Call, item: QueueItem) -> list[QueueItem]:
    """Return the other open items about the same thing."""
    found = call.engine.finance(call.who).queue(limit=_MOST_OPEN)
    return [other for other in found if other.subject == item.subject and other.item_id != item.item_id]
