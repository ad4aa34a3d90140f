"""Administration of money: orders, receipts, the finance queue, refunds."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from evmbilling.domain.addresses import parse_address
from evmbilling.domain.identity import parse_hash
from evmbilling.domain.selling.searching import OrderFilter
from evmbilling.domain.states import OrderStatus
from evmbilling.engine.requests import parse_words
from evmbilling.errors import Conflict, IllegalTransition, InputError, NotFound, UnknownAsset, UnknownNetwork
from evmbilling.integrations.http.admin_bodies import (
    ApproveBody,
    AssignBody,
    CreditBody,
    NoteBody,
    ReasonBody,
    RefundBody,
    TransactionBody,
)
from evmbilling.integrations.http.admin_catalogue import given
from evmbilling.integrations.http.admin_shapes import (
    AdminOrderView,
    QueueItemView,
    QueuePage,
    ReceiptList,
    RefundPage,
    RefundTransactionList,
    RefundTransactionView,
)
from evmbilling.integrations.http.admin_views import (
    admin_order_view,
    queue_item_view,
    receipt_view,
    refund_transaction_view,
)
from evmbilling.integrations.http.bodies import EmptyBody
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of, read_instant
from evmbilling.integrations.http.routes import INSTANT, Call, Parameter, RouteTable
from evmbilling.integrations.http.shapes import OrderPage, OrderView, PayloadView, RefundPayloadView, RefundView
from evmbilling.integrations.http.views import order_view, payload_view, refund_payload_view, refund_view

money = RouteTable("money", access="finance_ops", prefix="/admin")
REFUNDED = (NotFound, Conflict, IllegalTransition, UnknownNetwork, UnknownAsset)
DECIDED: dict[str, Any] = {"errors": (NotFound, Conflict, IllegalTransition)}


@money.get(
    "/orders",
    answer=OrderPage,
    parameters=(
        *PAGE,
        Parameter(name="status", text="Of this status only.", example="confirmed", shape={"enum": sorted(OrderStatus)}),
        Parameter(name="network", text="On this network only."),
        Parameter(name="user", text="Of this user only."),
        Parameter(name="plan", text="Of this plan only."),
        Parameter(name="wallet", text="Asked of this wallet only."),
        Parameter(name="tx", text="Completed by this transaction."),
        Parameter(name="from", text="Made at this instant or later.", shape=INSTANT),
        Parameter(name="before", text="Made before this instant.", shape=INSTANT),
    ),
)
def find_orders(call: Call) -> OrderPage:
    """Orders that meet all conditions, newest first."""
    rows = limit_of(call)
    orders = call.engine.admin(call.who).orders(conditions(call), before=cursor_of(call), limit=rows + 1)
    more = make_cursor(orders[rows - 1].ledger_id) if len(orders) > rows else None
    return OrderPage(orders=[order_view(order) for order in orders[:rows]], next=more)


@money.get("/orders/{ledger_id}", answer=AdminOrderView, errors=(NotFound,))
def get_order(call: Call) -> AdminOrderView:
    """An order with every movement of money that names it."""
    offer = call.engine.order(call.param("ledger_id"))
    return admin_order_view(offer, list(call.engine.receipts(offer.ledger_id)))


@money.post("/orders/{ledger_id}/mark-paid", access="billing_admin", body=ReasonBody, answer=OrderView, **DECIDED)
def mark_paid(call: Call) -> OrderView:
    """Say that an order was paid another way; recorded with who said it and why."""
    return order_view(call.engine.finance(call.who).mark_paid(call.param("ledger_id"), reason=call.body.reason))


@money.get("/receipts/unmatched", answer=ReceiptList)
def list_unmatched_receipts(call: Call) -> ReceiptList:
    """Money that no order explains, oldest first."""
    return ReceiptList(receipts=[receipt_view(r) for r in call.engine.admin(call.who).unmatched_receipts()])


@money.get(
    "/queue",
    answer=QueuePage,
    parameters=(
        *PAGE,
        Parameter(name="state", text="`open`, `decided`, `withdrawn`, or `all`.", example="open"),
    ),
)
def list_queue(call: Call) -> QueuePage:
    """What a person must decide, oldest first."""
    rows, word = limit_of(call), query_of(call, "state") or "open"
    items = call.engine.finance(call.who).queue(
        state=None if word == "all" else word, after=cursor_of(call) or "", limit=rows + 1
    )
    more = make_cursor(items[rows - 1].item_id) if len(items) > rows else None
    return QueuePage(items=[queue_item_view(item) for item in items[:rows]], next=more)


@money.get("/queue/{item_id}", answer=QueueItemView, errors=(NotFound,))
def get_queue_item(call: Call) -> QueueItemView:
    """Something that a person must decide."""
    return queue_item_view(call.engine.finance(call.who).item(call.param("item_id")))


@money.post("/queue/{item_id}/assign", body=AssignBody, answer=QueueItemView, **DECIDED)
def assign_receipt(call: Call) -> QueueItemView:
    """Say which order the money is for."""
    body: AssignBody = call.body
    desk = call.engine.finance(call.who)
    return queue_item_view(desk.assign(call.param("item_id"), body.ledger_id, note=body.note))


@money.post("/queue/{item_id}/credit", body=CreditBody, answer=QueueItemView, **DECIDED)
def credit_receipt(call: Call) -> QueueItemView:
    """Say whose credit the money is."""
    body: CreditBody = call.body
    desk = call.engine.finance(call.who)
    return queue_item_view(desk.credit(call.param("item_id"), body.user_id, note=body.note))


@money.post("/queue/{item_id}/write-off", body=NoteBody, answer=QueueItemView, **DECIDED)
def write_off(call: Call) -> QueueItemView:
    """Keep money that nobody can be found for; above the gateway's limit a second person has to agree."""
    return queue_item_view(call.engine.finance(call.who).write_off(call.param("item_id"), note=call.body.note))


@money.post(
    "/queue/{item_id}/approve-write-off", access="billing_admin", body=NoteBody, answer=QueueItemView, **DECIDED
)
def approve_write_off(call: Call) -> QueueItemView:
    """Agree, as a second person, that money is written off."""
    desk = call.engine.finance(call.who)
    return queue_item_view(desk.approve_write_off(call.param("item_id"), note=call.body.note))


@money.post("/queue/{item_id}/release", body=NoteBody, answer=QueueItemView, **DECIDED)
def release_held(call: Call) -> QueueItemView:
    """Let money count that was held."""
    return queue_item_view(call.engine.finance(call.who).release(call.param("item_id"), note=call.body.note))


@money.post("/queue/{item_id}/acknowledge", body=NoteBody, answer=QueueItemView, **DECIDED)
def acknowledge_item(call: Call) -> QueueItemView:
    """Say that it was seen, where nothing else has to be done."""
    return queue_item_view(call.engine.finance(call.who).acknowledge(call.param("item_id"), note=call.body.note))


@money.post("/queue/{item_id}/accept", body=NoteBody, answer=QueueItemView, **DECIDED)
def accept_evidence(call: Call) -> QueueItemView:
    """Believe disputed evidence."""
    return queue_item_view(call.engine.finance(call.who).accept(call.param("item_id"), note=call.body.note))


@money.post("/queue/{item_id}/reverse", body=NoteBody, answer=QueueItemView, **DECIDED)
def reverse_evidence(call: Call) -> QueueItemView:
    """Take back what disputed evidence gave."""
    return queue_item_view(call.engine.finance(call.who).reverse(call.param("item_id"), note=call.body.note))


@money.get("/refunds", answer=RefundPage, parameters=(*PAGE, Parameter(name="state", text="Of this state only.")))
def list_refunds(call: Call) -> RefundPage:
    """Refunds, by id."""
    rows, word = limit_of(call), query_of(call, "state")
    found = call.engine.refunds(call.who).refunds(
        states=() if word is None else (word,), after=cursor_of(call) or "", limit=rows + 1
    )
    more = make_cursor(found[rows - 1].refund_id) if len(found) > rows else None
    return RefundPage(refunds=[refund_view(refund) for refund in found[:rows]], next=more)


@money.post("/refunds", body=RefundBody, answer=RefundView, status=HTTPStatus.CREATED, errors=REFUNDED)
def request_refund(call: Call) -> RefundView:
    """Ask to give money back; above the gateway's limit a second person has to agree."""
    fields = given(call.body)
    desk = call.engine.refunds(call.who)
    if "user_id" not in fields:
        _only(fields, {"ledger_id", "receipt_id", "amount", "reason", "via", "end_membership"})
        return refund_view(desk.request(**fields))
    _only(fields, {"user_id", "network", "asset", "amount", "treasury", "reason"})
    return refund_view(desk.request_credit(fields.pop("user_id"), **fields))


@money.get("/refunds/{refund_id}", answer=RefundView, errors=(NotFound,))
def get_refund(call: Call) -> RefundView:
    """A refund."""
    return refund_view(call.engine.refunds(call.who).refund(call.param("refund_id")))


@money.post("/refunds/{refund_id}/approve", access="billing_admin", body=ApproveBody, answer=RefundView, **DECIDED)
def approve_refund(call: Call) -> RefundView:
    """Agree to a refund, as a second person where the amount needs one."""
    body: ApproveBody = call.body
    desk = call.engine.refunds(call.who)
    return refund_view(desk.approve(call.param("refund_id"), end_membership=body.end_membership))


@money.post("/refunds/{refund_id}/prepare", body=EmptyBody, answer=RefundPayloadView, **DECIDED)
def prepare_refund(call: Call) -> RefundPayloadView:
    """The transaction by which the treasury's wallet gives the money back, and the approval that it sends before."""
    return refund_payload_view(call.engine.refunds(call.who).prepare(call.param("refund_id")))


@money.post("/refunds/{refund_id}/prepare-burn", body=EmptyBody, answer=PayloadView, **DECIDED)
def prepare_burn(call: Call) -> PayloadView:
    """The transaction that burns the membership which ended with a refund."""
    return payload_view(call.engine.refunds(call.who).prepare_burn(call.param("refund_id")))


@money.get("/refunds/{refund_id}/transactions", answer=RefundTransactionList, errors=(NotFound,))
def list_refund_transactions(call: Call) -> RefundTransactionList:
    """The transactions that are named for a refund in the chain's own coin."""
    found = call.engine.refunds(call.who).transactions(call.param("refund_id"))
    return RefundTransactionList(transactions=[refund_transaction_view(proof) for proof in found])


@money.post("/refunds/{refund_id}/transactions", body=TransactionBody, answer=RefundTransactionView, **DECIDED)
def name_refund_transaction(call: Call) -> RefundTransactionView:
    """Say which transaction paid a refund in the chain's own coin; the chain decides whether it did."""
    desk = call.engine.refunds(call.who)
    return refund_transaction_view(desk.name_transaction(call.param("refund_id"), tx_hash=call.body.tx_hash))


@money.post("/refunds/{refund_id}/transactions/withdraw", body=TransactionBody, answer=RefundTransactionView, **DECIDED)
def unname_refund_transaction(call: Call) -> RefundTransactionView:
    """Take back a transaction that was named by mistake, while the chain does not show it."""
    desk = call.engine.refunds(call.who)
    return refund_transaction_view(desk.unname_transaction(call.param("refund_id"), tx_hash=call.body.tx_hash))


@money.post("/refunds/{refund_id}/cancel", body=ReasonBody, answer=RefundView, **DECIDED)
def cancel_refund(call: Call) -> RefundView:
    """Give a refund up."""
    return refund_view(call.engine.refunds(call.who).cancel(call.param("refund_id"), reason=call.body.reason))


def conditions(call: Call) -> OrderFilter:
    """Read the conditions of a search.

    Raises:
        InputError: one cannot be read; names the parameter.

    """
    status, wallet, tx = (query_of(call, name) for name in ("status", "wallet", "tx"))
    return OrderFilter(
        statuses=()
        if status is None
        else tuple(OrderStatus(w) for w in parse_words((status,), OrderStatus, field="status")),
        network=query_of(call, "network"),
        user_id=query_of(call, "user"),
        plan_slug=query_of(call, "plan"),
        wallet=None if wallet is None else parse_address(wallet, field="wallet"),
        tx_hash=None if tx is None else parse_hash(tx, field="tx"),
        created_from=read_instant(query_of(call, "from"), field="from"),
        created_before=read_instant(query_of(call, "before"), field="before"),
    )


def _only(fields: dict[str, Any], known: set[str]) -> None:
    for name in fields:
        if name not in known:
            raise InputError("this does not go with the rest", field=name)
