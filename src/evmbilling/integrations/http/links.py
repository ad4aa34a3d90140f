"""One order for whoever holds its pay link: seeing it, paying it, asking for it once more. No identity is needed."""

from __future__ import annotations

from http import HTTPStatus

from evmbilling.domain.selling.offers import Checkout
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.errors import NotFound
from evmbilling.integrations.http.bodies import EmptyBody
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.public import BOUGHT
from evmbilling.integrations.http.routes import SOLD, Call, RouteTable
from evmbilling.integrations.http.shapes import InstructionsView, LineView, LinkView, PayPageView
from evmbilling.integrations.http.views import (
    interval_view,
    order_status_view,
    payer_or_none,
    payload_or_none,
    problem_views,
)

links = RouteTable("pay links", access="anyone", prefix="/pay")


@links.get("/{token}", answer=PayPageView, errors=(NotFound,))
def get_pay_link(call: Call) -> PayPageView:
    """The order of a pay link, or what took its place: its status, the confirmations, and what is to be paid."""
    return pay_page(call, call.engine.pay_link(call.param("token")))


@links.get("/{token}/instructions", answer=InstructionsView, errors=(NotFound,))
def get_link_instructions(call: Call) -> InstructionsView:
    """What the wallet has to do now, as the chain says; a dead node is the problem ``rpc_unknown``."""
    found = call.engine.pay_instructions(call.engine.pay_link(call.param("token")).ledger_id)
    return InstructionsView(
        payload=payload_or_none(found.payload),
        approval=payload_or_none(found.approval),
        problems=problem_views(found.problems),
    )


@links.post(
    "/{token}/requote",
    body=EmptyBody,
    answer=LinkView,
    status=HTTPStatus.CREATED,
    errors=(NotFound, *SOLD, *BOUGHT),
)
def requote_link(call: Call) -> Answer:
    """Offer the same again with a new deadline; money that still comes for the old offer is found all the same."""
    offer = call.engine.requote(call.engine.pay_link(call.param("token")).ledger_id)
    issued = call.engine.issue_pay_link(offer.ledger_id)
    return Answer(value=LinkView(token=issued.token, url=call.options.pay_url(issued.token)))


def pay_page(call: Call, offer: Checkout) -> PayPageView:
    """Return an order as its page shows it."""
    order, progress = offer.order, call.engine.progress(offer.ledger_id)
    plan = progress.plan
    return PayPageView(
        order=order_status_view(progress),
        plan_name=order.plan_slug if plan is None else plan.name,
        interval=interval_view(Interval("none") if plan is None else plan.interval),
        quantity=order.quantity,
        lines=[LineView(kind=line.kind, text=line.text, base_units=str(line.amount)) for line in offer.lines],
        wallet=payer_or_none(order),
        chain_id=order.chain_id,
        rail=order.rail,
    )
