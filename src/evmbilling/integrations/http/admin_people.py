"""Administration of everything around the money: customers, webhook endpoints, deliveries, audit, readers."""

from __future__ import annotations

from http import HTTPStatus

from evmbilling.errors import (
    Conflict,
    IdempotencyConflict,
    NotFound,
    ProviderError,
    RequestInProgress,
    RpcUnavailable,
    UnknownNetwork,
)
from evmbilling.integrations.http.account_shapes import SubscriptionDetail
from evmbilling.integrations.http.account_views import subscription_detail, subscription_row, wallet_view
from evmbilling.integrations.http.admin_bodies import (
    AdoptBody,
    CustomerChange,
    EndpointBody,
    EndpointChange,
    ReasonBody,
    RedeliverBody,
    ResumeBody,
    RotateBody,
)
from evmbilling.integrations.http.admin_catalogue import given
from evmbilling.integrations.http.admin_shapes import (
    AuditList,
    CustomerDetail,
    CustomerPage,
    CustomerView,
    DeliveryPage,
    DeliveryView,
    EndpointList,
    EndpointView,
    NewEndpointView,
    ReaderList,
    ResumedView,
    TestedView,
)
from evmbilling.integrations.http.admin_views import (
    audit_view,
    customer_view,
    delivery_view,
    endpoint_view,
    reader_view,
    resumed_view,
)
from evmbilling.integrations.http.bodies import EmptyBody
from evmbilling.integrations.http.public import PAGE
from evmbilling.integrations.http.reading import cursor_of, limit_of, make_cursor, query_of, read_instant
from evmbilling.integrations.http.routes import SOLD, Call, Parameter, RouteTable
from evmbilling.integrations.http.views import amount_view, order_view

people = RouteTable("operations", access="billing_admin", prefix="/admin")
_STATE = Parameter(name="state", text="`waiting`, `done` or `dead`.", example="dead")


@people.get("/customers", access="finance_ops", answer=CustomerPage, parameters=PAGE)
def list_customers(call: Call) -> CustomerPage:
    """Customers by id."""
    rows = limit_of(call)
    found = call.engine.admin(call.who).customers(after=cursor_of(call) or "", limit=rows + 1)
    more = make_cursor(found[rows - 1].user_id) if len(found) > rows else None
    return CustomerPage(customers=[customer_view(customer) for customer in found[:rows]], next=more)


@people.get("/customers/{user_id}", access="finance_ops", answer=CustomerDetail, errors=(NotFound,))
def get_customer(call: Call) -> CustomerDetail:
    """A customer with everything that belongs to them."""
    user = call.param("user_id")
    customer = call.engine.admin(call.who).customer(user)
    profile = call.engine.profile(user)
    credit = call.engine.refunds(call.who).credit(user)
    return CustomerDetail(
        customer=customer_view(customer),
        wallets=[wallet_view(wallet) for wallet in profile.wallets],
        subscriptions=[subscription_row(held) for held in call.engine.subscriptions(user)],
        debts=[amount_view(debt.asset, debt.amount) for debt in profile.debts],
        credit=[amount_view(held.asset, held.held) for held in credit],
        orders=[order_view(order) for order in profile.history],
    )


@people.patch("/customers/{user_id}", body=CustomerChange, answer=CustomerView, errors=(NotFound,))
def update_customer(call: Call) -> CustomerView:
    """Change a customer's zone (for later subscriptions) or language."""
    return customer_view(call.engine.admin(call.who).update_customer(call.param("user_id"), **given(call.body)))


@people.post(
    "/subscriptions/adopt",
    body=AdoptBody,
    answer=SubscriptionDetail,
    errors=(*SOLD, Conflict, IdempotencyConflict),
)
def adopt_subscriber(call: Call) -> SubscriptionDetail:
    """Import a subscriber who has paid elsewhere: access until then, and the first renewal asked for here.

    There is no receipt and nothing is posted. The same again answers with what is there; `dry_run` writes nothing.
    """
    fields = given(call.body)
    for name in ("paid_until", "anchor"):
        fields[name] = read_instant(fields.get(name), field=name)
    return subscription_detail(call.engine.admin(call.who).adopt(**fields))


@people.get("/webhooks", access="finance_ops", answer=EndpointList)
def list_endpoints(call: Call) -> EndpointList:
    """All webhook endpoints, disabled ones too."""
    return EndpointList(endpoints=[endpoint_view(e) for e in call.engine.endpoints(call.who).list()])


@people.post("/webhooks", body=EndpointBody, answer=NewEndpointView, status=HTTPStatus.CREATED)
def create_endpoint(call: Call) -> NewEndpointView:
    """Add an endpoint; it gets what happens from now on. Its secret is shown this once."""
    made = call.engine.endpoints(call.who).create(**given(call.body))
    return NewEndpointView(endpoint=endpoint_view(made.endpoint), secret=made.secret)


@people.get("/webhooks/{endpoint_id}", access="finance_ops", answer=EndpointView, errors=(NotFound,))
def get_endpoint(call: Call) -> EndpointView:
    """A webhook endpoint."""
    return endpoint_view(call.engine.endpoints(call.who).get(call.param("endpoint_id")))


@people.patch("/webhooks/{endpoint_id}", body=EndpointChange, answer=EndpointView, errors=(NotFound,))
def update_endpoint(call: Call) -> EndpointView:
    """Change where an endpoint is, or what it gets."""
    return endpoint_view(call.engine.endpoints(call.who).update(call.param("endpoint_id"), **given(call.body)))


@people.post("/webhooks/{endpoint_id}/rotate", body=RotateBody, answer=NewEndpointView, errors=(NotFound,))
def rotate_endpoint(call: Call) -> NewEndpointView:
    """Add a secret; the one before signs along until it is retired."""
    made = call.engine.endpoints(call.who).rotate(call.param("endpoint_id"), **given(call.body))
    return NewEndpointView(endpoint=endpoint_view(made.endpoint), secret=made.secret)


@people.post("/webhooks/{endpoint_id}/retire", body=EmptyBody, answer=EndpointView, errors=(NotFound,))
def retire_endpoint_secret(call: Call) -> EndpointView:
    """End a rotation: only the newest secret signs from now on."""
    return endpoint_view(call.engine.endpoints(call.who).retire(call.param("endpoint_id")))


@people.post("/webhooks/{endpoint_id}/disable", body=ReasonBody, answer=EndpointView, errors=(NotFound,))
def disable_endpoint(call: Call) -> EndpointView:
    """Send nothing there any more."""
    face = call.engine.endpoints(call.who)
    return endpoint_view(face.disable(call.param("endpoint_id"), reason=call.body.reason))


@people.post("/webhooks/{endpoint_id}/enable", body=EmptyBody, answer=EndpointView, errors=(NotFound,))
def enable_endpoint(call: Call) -> EndpointView:
    """Send there again, from now on."""
    return endpoint_view(call.engine.endpoints(call.who).enable(call.param("endpoint_id")))


@people.post("/webhooks/{endpoint_id}/test", body=EmptyBody, answer=TestedView, errors=(NotFound, Conflict))
def try_endpoint(call: Call) -> TestedView:
    """Send an event to an endpoint, to try it."""
    return TestedView(event_id=call.engine.endpoints(call.who).test(call.param("endpoint_id")))


@people.get(
    "/deliveries",
    access="finance_ops",
    answer=DeliveryPage,
    parameters=(*PAGE, _STATE, Parameter(name="sink", text="`notifier:…`, `webhook:…` or `quota:…`.")),
)
def list_deliveries(call: Call) -> DeliveryPage:
    """Deliveries by event; ``state=dead`` for what needs a person."""
    rows = limit_of(call)
    found = call.engine.deliveries(call.who).list(
        sink=query_of(call, "sink"), state=query_of(call, "state"), after=cursor_of(call) or "", limit=rows
    )
    more = make_cursor(found[-1].event_id) if len(found) >= rows else None
    return DeliveryPage(deliveries=[delivery_view(delivery) for delivery in found], next=more)


@people.post(
    "/deliveries/{event_id}/redeliver",
    access="finance_ops",
    body=RedeliverBody,
    answer=DeliveryView,
    errors=(NotFound, Conflict),
)
def redeliver(call: Call) -> DeliveryView:
    """Try a delivery once more, now."""
    return delivery_view(call.engine.deliveries(call.who).redeliver(call.param("event_id"), call.body.sink))


@people.get(
    "/audit",
    access="finance_ops",
    answer=AuditList,
    parameters=(Parameter(name="object", text="Of this object only.", example="plan:pro"), PAGE[1]),
)
def list_audit(call: Call) -> AuditList:
    """Who did what, oldest first."""
    entries = call.engine.admin(call.who).audit(object_=query_of(call, "object"), limit=limit_of(call))
    return AuditList(entries=[audit_view(entry) for entry in entries])


@people.get("/readers", access="finance_ops", answer=ReaderList)
def list_readers(call: Call) -> ReaderList:
    """How far every network was read, and what stands in its way."""
    return ReaderList(readers=[reader_view(status) for status in call.engine.reader(call.who).status()])


@people.post(
    "/readers/{network}/resume",
    body=ResumeBody,
    answer=ResumedView,
    errors=(UnknownNetwork, Conflict, RequestInProgress, ProviderError, RpcUnavailable),
)
def resume_reader(call: Call) -> ResumedView:
    """Let a halted network go on upon the branch that a person has looked at."""
    return resumed_view(call.engine.reader(call.who).resume(call.param("network"), accept=call.body.accept))
