"""The desk's queue: what a person must decide, and the forms by which it is decided."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from evmbilling.domain.finance import QueueItem
from evmbilling.engine.finance import Finance
from evmbilling.engine.finance_rulings import RULINGS
from evmbilling.errors import BillingError, Conflict, InputError, NotFound
from evmbilling.integrations.http.admin_views import queue_item_view, receipt_view
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.problems import status_of
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of
from evmbilling.integrations.http.routes import Call, Parameter, RouteTable
from evmbilling.integrations.pages.desk import HTML, may_approve
from evmbilling.integrations.pages.forms import read_form, see_other
from evmbilling.integrations.pages.rendering import DESK, draw_desk

queue_pages = RouteTable("desk", access="finance_ops", prefix="/desk")
_Decide = Callable[[Finance, str, dict[str, str], str], QueueItem]
_STATES = ("open", "decided", "withdrawn", "all")
ACTIONS: dict[str, tuple[str, _Decide]] = {
    "assign": ("Count it for an order", lambda desk, item, form, note: desk.assign(item, form["ledger_id"], note=note)),
    "credit": ("Give it to a customer", lambda desk, item, form, note: desk.credit(item, form["user_id"], note=note)),
    "write_off": ("Write it off", lambda desk, item, _, note: desk.write_off(item, note=note)),
    "release": ("Let it count", lambda desk, item, _, note: desk.release(item, note=note)),
    "acknowledge": ("Seen; nothing to do", lambda desk, item, _, note: desk.acknowledge(item, note=note)),
    "accept": ("Believe it", lambda desk, item, _, note: desk.accept(item, note=note)),
    "reverse": ("Take it back", lambda desk, item, _, note: desk.reverse(item, note=note)),
    "approve_write_off": (
        "Agree to the write-off",
        lambda desk, item, _, note: desk.approve_write_off(item, note=note),
    ),
}
"""What a decision is called, and how it is made."""
NEEDS = {"assign": "ledger_id", "credit": "user_id"}


@queue_pages.get(
    "/queue", produces=HTML, parameters=(*PAGE, Parameter(name="state", text="`open`, `decided`, `withdrawn`, `all`."))
)
def get_desk_queue(call: Call) -> Answer:
    """What a person must decide, oldest first."""
    rows, state = limit_of(call), query_of(call, "state") or "open"
    items = call.engine.finance(call.who).queue(
        state=None if state == "all" else state, after=cursor_of(call) or "", limit=rows + 1
    )
    more = make_cursor(items[rows - 1].item_id) if len(items) > rows else None
    return draw_desk(
        "desk_queue.html",
        call,
        here="queue",
        state=state,
        states=_STATES,
        items=[queue_item_view(item) for item in items[:rows]],
        more=None if more is None else f"{DESK}/queue?state={state}&cursor={more}",
    )


@queue_pages.get("/queue/{item_id}", produces=HTML, errors=(NotFound,))
def get_desk_item(call: Call) -> Answer:
    """Something to decide, with the money that it is about and what can be decided."""
    return _item_page(call)


@queue_pages.post("/queue/{item_id}/{action}", produces=HTML, errors=(NotFound, Conflict))
def decide_item(call: Call) -> Answer:
    """Decide."""
    item_id, action = call.param("item_id"), call.param("action")
    if action not in ACTIONS:
        raise NotFound("there is no such decision", field="action")
    form = read_form(call, "note", *([NEEDS[action]] if action in NEEDS else []))
    try:
        _decide(call, action, form)
    except (InputError, NotFound, Conflict) as error:
        return _item_page(call, wrong=error)
    return see_other(f"{DESK}/queue/{item_id}")


def _decide(call: Call, action: str, form: dict[str, str]) -> None:
    needed = NEEDS.get(action)
    if needed is not None and needed not in form:
        raise InputError("please say which one", field=needed)
    ACTIONS[action][1](call.engine.finance(call.who), call.param("item_id"), form, form.get("note", ""))


def _item_page(call: Call, wrong: BillingError | None = None) -> Answer:
    item = call.engine.finance(call.who).item(call.param("item_id"))
    receipts = [] if item.ledger_id is None else call.engine.receipts(item.ledger_id)
    unmatched = call.engine.admin(call.who).unmatched_receipts(limit=1000)
    money = next((r for r in [*receipts, *unmatched] if r.receipt_id == item.receipt_id), None)
    return draw_desk(
        "desk_item.html",
        call,
        here="queue",
        status=HTTPStatus.OK if wrong is None else status_of(wrong),
        wrong=wrong,
        item=queue_item_view(item),
        money=None if money is None else receipt_view(money),
        actions=[(name, ACTIONS[name][0], NEEDS.get(name)) for name in _allowed(call, item)],
    )


def _allowed(call: Call, item: QueueItem) -> list[str]:
    """Return the decisions that an item takes; one that waits for a second person takes none here."""
    if item.state != "open" or item.ruling is not None:
        return []
    if item.kind == "write_off_approval":
        return ["approve_write_off"] if may_approve(call) else []
    takes = RULINGS.get(item.kind, frozenset())
    return [name for name in ACTIONS if name in takes]
