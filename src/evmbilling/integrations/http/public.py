"""Plans, checkout, and the webhooks of relays."""

from __future__ import annotations

from http import HTTPStatus

from evmbilling.errors import (
    BillingError,
    ChallengeRefused,
    ChangeNeeded,
    Conflict,
    IdempotencyConflict,
    IllegalTransition,
    NotFound,
    RequestInProgress,
    RpcUnavailable,
    TooManyOpenOrders,
    WebhookRejected,
)
from evmbilling.integrations.http.bodies import CheckoutBody, EmptyBody, SignatureBody
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.problems import BodyTooLarge, HttpError, InvalidBody
from evmbilling.integrations.http.reading import (
    DEFAULT_ROWS,
    MOST_ROWS,
    cursor_of,
    limit_of,
    make_cursor,
    read_hex,
    read_instant,
    single_header,
)
from evmbilling.integrations.http.ready import ready_to_pay
from evmbilling.integrations.http.routes import SOLD, Call, Parameter, RouteTable
from evmbilling.integrations.http.shapes import (
    AuthorizationView,
    CheckoutView,
    HintReceiptView,
    OrderPage,
    OrderStatusView,
    PayloadView,
    PlanList,
)
from evmbilling.integrations.http.views import order_status_view, order_view, payload_view, plan_view

OWN_RELAY = "relay"
KEY_PATTERN = r"^[!-+\--~]{1,255}$"
"""Printable ASCII without spaces and commas."""
KEY = Parameter(
    name="Idempotency-Key",
    where="header",
    required=True,
    text="Unique for each thing that is bought; the same key and body answer with the same order.",
    example="7d7a2f0e-6f0c-4bb8-9f3f-0a1a4b0e3c11",
    shape={"pattern": KEY_PATTERN},
)
PAGE = (
    Parameter(name="cursor", text="The `next` of the page before."),
    Parameter(
        name="limit",
        kind="integer",
        text="Rows of a page, 1 to 100.",
        example=50,
        shape={"minimum": 1, "maximum": MOST_ROWS, "default": DEFAULT_ROWS},
    ),
)
BOUGHT: tuple[type[BillingError], ...] = (
    IdempotencyConflict,
    RequestInProgress,
    ChangeNeeded,
    TooManyOpenOrders,
    IllegalTransition,
    Conflict,
)
"""What can stand in the way of an order, and of the link to pay it."""
shop = RouteTable("shop", access="user")
hooks = RouteTable("webhooks", access="anyone")


@shop.get("/plans", access="anyone", answer=PlanList)
def list_plans(call: Call) -> PlanList:
    """Plans that are sold now."""
    return PlanList(plans=[plan_view(plan) for plan in call.engine.plans()])


@shop.post(
    "/checkout",
    body=CheckoutBody,
    answer=CheckoutView,
    status=HTTPStatus.CREATED,
    also=(HTTPStatus.OK,),
    parameters=(KEY,),
    errors=(*SOLD, *BOUGHT),
)
def create_checkout(call: Call) -> Answer:
    """Ask a wallet to pay for a plan.

    201 for a new order, 200 when the same key and body were sent before.
    """
    key = single_header(call.request, "idempotency-key")
    if key is None:
        raise HttpError("the header Idempotency-Key is needed", field="Idempotency-Key")
    if "," in key:
        # Servers that cannot hand on two headers of one name join them so (RFC 9110, 5.3).
        raise HttpError("a key has no comma: two of them would look like that", field="Idempotency-Key")
    body: CheckoutBody = call.body
    offer = call.engine.checkout(
        plan=body.plan,
        user_id=call.user,
        wallet=body.wallet,
        idempotency_key=key,
        network=body.network,
        asset=body.asset,
        product=_product(body),
        quantity=body.quantity,
        beneficiary=body.beneficiary,
        zone=body.zone,
        start_at=read_instant(body.start_at, field="start_at"),
    )
    shown = ready_to_pay(call, offer, replayed=offer.replayed)
    return Answer(value=shown, status=HTTPStatus.OK if offer.replayed else HTTPStatus.CREATED)


@shop.get("/checkout/{ledger_id}", answer=OrderStatusView, errors=(NotFound,))
def get_checkout(call: Call) -> OrderStatusView:
    """An order as it stands: its status, the confirmations so far and needed, and why it waits."""
    return order_status_view(call.engine.progress(call.param("ledger_id"), user_id=call.user))


@shop.get("/checkout/{ledger_id}/instructions", answer=CheckoutView, errors=(NotFound, Conflict))
def get_pay_instructions(call: Call) -> CheckoutView:
    """What a wallet has to do to pay an order now, as the chain says; a dead node is the problem ``rpc_unknown``."""
    return ready_to_pay(call, call.engine.order(call.param("ledger_id"), user_id=call.user), replayed=True)


@shop.get("/checkout/{ledger_id}/authorization", answer=AuthorizationView, errors=(NotFound, Conflict, RpcUnavailable))
def get_authorization(call: Call) -> AuthorizationView:
    """What a wallet signs to pay (ERC-2612, ERC-3009 or Permit2), where the order's contract takes that."""
    return AuthorizationView(typed_data=call.engine.pay_permit(call.param("ledger_id"), user_id=call.user))


@shop.post(
    "/checkout/{ledger_id}/authorization",
    body=SignatureBody,
    answer=PayloadView,
    errors=(NotFound, Conflict, ChallengeRefused, RpcUnavailable),
)
def authorize(call: Call) -> PayloadView:
    """The transaction that pays an order with the wallet's signature in it."""
    body: SignatureBody = call.body
    signature = read_hex(body.signature)
    return payload_view(call.engine.pay_with_permit(call.param("ledger_id"), signature=signature, user_id=call.user))


@shop.post(
    "/checkout/{ledger_id}/requote",
    body=EmptyBody,
    answer=CheckoutView,
    status=HTTPStatus.CREATED,
    also=(HTTPStatus.OK,),
    parameters=(
        Parameter(
            name="Idempotency-Key",
            where="header",
            text="To requote more than once; without it, each call is the same.",
            shape={"pattern": KEY_PATTERN},
        ),
    ),
    errors=(NotFound, *SOLD, *BOUGHT),
)
def requote(call: Call) -> Answer:
    """Withdraw an unpaid order and offer the same again with a new deadline; money for the old one is still found."""
    key = single_header(call.request, "idempotency-key")
    offer = call.engine.requote(call.param("ledger_id"), user_id=call.user, idempotency_key=key)
    shown = ready_to_pay(call, offer, replayed=offer.replayed)
    return Answer(value=shown, status=HTTPStatus.OK if offer.replayed else HTTPStatus.CREATED)


@shop.get("/history", name="history", answer=OrderPage, parameters=PAGE)
@shop.get("/me/history", name="my_history", answer=OrderPage, parameters=PAGE)
def history(call: Call) -> OrderPage:
    """The user's orders, newest first."""
    rows = limit_of(call)
    orders = call.engine.orders(call.user, before=cursor_of(call), limit=rows + 1)
    more = make_cursor(orders[rows - 1].ledger_id) if len(orders) > rows else None
    return OrderPage(orders=[order_view(order) for order in orders[:rows]], next=more)


@hooks.post(
    "/contracts/webhook",
    name="relay_webhook",
    raw=True,
    answer=HintReceiptView,
    status=HTTPStatus.ACCEPTED,
    also=(HTTPStatus.OK,),
    errors=(WebhookRejected,),
)
def relay_webhook(call: Call) -> Answer:
    """A relay that serves every contract says that a transaction is worth looking at (Standard Webhooks 1.0)."""
    return _hint(call, OWN_RELAY)


@hooks.post(
    "/contracts/{slug}/webhook",
    name="contract_webhook",
    raw=True,
    answer=HintReceiptView,
    status=HTTPStatus.ACCEPTED,
    also=(HTTPStatus.OK,),
    errors=(WebhookRejected,),
)
def contract_webhook(call: Call) -> Answer:
    """A contract's relay says that a transaction is worth looking at; nothing that it says is believed."""
    return _hint(call, call.param("slug"))


def _hint(call: Call, source: str) -> Answer:
    if len(call.request.body) > call.options.max_body:
        raise BodyTooLarge(field="body")
    taken = call.engine.handle_webhook(source, call.request.body, call.request.headers)
    shown = HintReceiptView(source=taken.source, event_id=taken.event_id, replayed=taken.replayed)
    return Answer(value=shown, status=HTTPStatus(taken.status))


def _product(body: CheckoutBody) -> str | None:
    if body.product_type is None:
        if body.product_id is not None:
            raise InvalidBody("a product's id needs its type", field="product_type")
        return None
    return body.product_type if body.product_id is None else f"{body.product_type}/{body.product_id}"
