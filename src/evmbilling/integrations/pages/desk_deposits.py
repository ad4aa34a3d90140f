"""The desk's deposit addresses: what is there and waits, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Callable

from evmbilling.domain.selling.deposits import DEPOSIT_STATES
from evmbilling.errors import Conflict, NotFound
from evmbilling.integrations.http.admin_deposits import deposit_view, swept
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of
from evmbilling.integrations.http.routes import Call, Parameter
from evmbilling.integrations.pages.desk_base import DeskTable, acted, desk_link, draw_desk
from evmbilling.integrations.pages.desk_orders import order_page
from evmbilling.integrations.pages.forms import read_form
from evmbilling.integrations.pages.words import desk_words

deposit_pages = DeskTable()
_HOLDING = ("stuck", "waiting")


@deposit_pages.get("/deposits", parameters=(*PAGE, Parameter(name="state", text="`stuck`, `waiting` or `empty`.")))
def get_desk_deposits(call: Call) -> Answer:
    """Deposit addresses at which something is, or those in one state."""
    rows, state = limit_of(call), query_of(call, "state") or ""
    found = call.engine.deposits(call.who).deposits(
        states=(state,) if state else _HOLDING, after=cursor_of(call) or "", limit=rows + 1
    )
    last = make_cursor(found[rows - 1].order.ledger_id) if len(found) > rows else None
    words = desk_words(call.language)
    return draw_desk(
        "desk_deposits.html",
        call,
        here="deposits",
        state=state,
        states=[("", words("deposit_holding")), *((word, words.term("deposit", word)) for word in DEPOSIT_STATES)],
        deposits=[deposit_view(one.deposit, one.order) for one in found[:rows]],
        more=None if last is None else desk_link(call, "/deposits", state=state or None, cursor=last),
    )


@deposit_pages.post("/orders/{ledger_id}/deposit-look", errors=(NotFound,))
def look_at_order_deposit(call: Call) -> Answer:
    """Have an order's address looked at again, however old it is."""
    read_form(call)
    return _acted(call, "deposit_look", lambda ledger_id: call.engine.deposits(call.who).look_again(ledger_id))


@deposit_pages.post("/orders/{ledger_id}/deposit-sweep", errors=(NotFound, Conflict))
def sweep_order_deposit(call: Call) -> Answer:
    """Have something at an order's address swept to its treasury."""
    token = read_form(call, "token").get("token")
    return _acted(call, "deposit_sweep", lambda ledger_id: swept(call, ledger_id, token))


def _acted(call: Call, done: str, act: Callable[[str], object]) -> Answer:
    ledger_id = call.param("ledger_id")

    def work() -> str:
        act(ledger_id)
        return desk_link(call, f"/orders/{ledger_id}", done=done)

    return acted(work, lambda error: order_page(call, wrong=error))
