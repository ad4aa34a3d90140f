"""Administration of what is sold, where, and how it is paid."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from evmbilling.domain.money import FiatEstimate
from evmbilling.errors import (
    AlreadyExists,
    Conflict,
    InputError,
    NotAllowed,
    NotFound,
    RpcUnavailable,
    UnknownNetwork,
    UnknownPlan,
    VersionConflict,
)
from evmbilling.integrations.http.admin_bodies import (
    ContractBody,
    ContractChange,
    GatewayBody,
    GatewayChange,
    NetworkBody,
    NetworkChange,
    PlanBody,
    PlanChange,
    SimulateBody,
    VersionBody,
)
from evmbilling.integrations.http.admin_shapes import (
    AdminPlanList,
    AdminPlanView,
    ContractList,
    ContractView,
    GatewayList,
    GatewayView,
    NetworkList,
    NetworkView,
)
from evmbilling.integrations.http.admin_views import (
    admin_plan_view,
    contract_view,
    gateway_view,
    network_view,
    simulation_view,
)
from evmbilling.integrations.http.bodies import Body, EmptyBody
from evmbilling.integrations.http.routes import Call, RouteTable
from evmbilling.integrations.http.simulation_shapes import SimulationView

catalogue = RouteTable("catalogue", access="billing_admin", prefix="/admin")
LOOKED_UP = (NotFound, NotAllowed, Conflict, UnknownNetwork, UnknownPlan, RpcUnavailable)
"""What can be wrong with what a row names, or with what a chain says of it."""
MADE: dict[str, Any] = {"status": HTTPStatus.CREATED, "errors": (AlreadyExists, *LOOKED_UP)}
CHANGED: dict[str, Any] = {"errors": (VersionConflict, *LOOKED_UP)}


def given(body: Body) -> dict[str, Any]:
    """Return the fields that were sent; null says nothing else than leaving a field out at creation."""
    return body.model_dump(exclude_unset=True)


@catalogue.get("/networks", access="finance_ops", answer=NetworkList)
def list_networks(call: Call) -> NetworkList:
    """All networks, archived ones too."""
    return NetworkList(networks=[network_view(n) for n in call.engine.admin(call.who).networks()])


@catalogue.post("/networks", body=NetworkBody, answer=NetworkView, **MADE)
def create_network(call: Call) -> NetworkView:
    """Add a network."""
    return network_view(call.engine.admin(call.who).create_network(**given(call.body)))


@catalogue.get("/networks/{name}", access="finance_ops", answer=NetworkView, errors=(NotFound,))
def get_network(call: Call) -> NetworkView:
    """A network."""
    found = {network.name: network for network in call.engine.admin(call.who).networks()}
    return network_view(_one(found, call.param("name"), "name"))


@catalogue.patch("/networks/{name}", body=NetworkChange, answer=NetworkView, **CHANGED)
def update_network(call: Call) -> NetworkView:
    """Change a network; its name and chain id never change."""
    return network_view(call.engine.admin(call.who).update_network(call.param("name"), **given(call.body)))


@catalogue.post("/networks/{name}/archive", body=VersionBody, answer=NetworkView, **CHANGED)
def archive_network(call: Call) -> NetworkView:
    """Take a network out of use for new orders; what is open stays watched."""
    return network_view(call.engine.admin(call.who).archive_network(call.param("name"), **given(call.body)))


@catalogue.get("/gateways", access="finance_ops", answer=GatewayList)
def list_gateways(call: Call) -> GatewayList:
    """All gateways, archived ones too."""
    return GatewayList(gateways=[gateway_view(g) for g in call.engine.admin(call.who).gateways()])


@catalogue.post("/gateways", body=GatewayBody, answer=GatewayView, **MADE)
def create_gateway(call: Call) -> GatewayView:
    """Add a gateway."""
    return gateway_view(call.engine.admin(call.who).create_gateway(**given(call.body)))


@catalogue.get("/gateways/{slug}", access="finance_ops", answer=GatewayView, errors=(NotFound,))
def get_gateway(call: Call) -> GatewayView:
    """A gateway."""
    found = {gateway.slug: gateway for gateway in call.engine.admin(call.who).gateways()}
    return gateway_view(_one(found, call.param("slug"), "slug"))


@catalogue.patch("/gateways/{slug}", body=GatewayChange, answer=GatewayView, **CHANGED)
def update_gateway(call: Call) -> GatewayView:
    """Change a gateway; open orders keep the treasury and the signature that they were made with."""
    return gateway_view(call.engine.admin(call.who).update_gateway(call.param("slug"), **given(call.body)))


@catalogue.post("/gateways/{slug}/archive", body=VersionBody, answer=GatewayView, **CHANGED)
def archive_gateway(call: Call) -> GatewayView:
    """Take a gateway out of use for new orders."""
    return gateway_view(call.engine.admin(call.who).archive_gateway(call.param("slug"), **given(call.body)))


@catalogue.get("/contracts", access="finance_ops", answer=ContractList)
def list_contracts(call: Call) -> ContractList:
    """All bound contracts, archived ones too."""
    return ContractList(contracts=[contract_view(c) for c in call.engine.admin(call.who).contracts()])


@catalogue.post("/contracts", body=ContractBody, answer=ContractView, **MADE)
def create_contract(call: Call) -> ContractView:
    """Bind a contract on a network."""
    return contract_view(call.engine.admin(call.who).create_contract(**given(call.body)))


@catalogue.get("/contracts/{slug}/{network}", access="finance_ops", answer=ContractView, errors=(NotFound,))
def get_contract(call: Call) -> ContractView:
    """A bound contract."""
    found = {(c.slug, c.network): c for c in call.engine.admin(call.who).contracts()}
    return contract_view(_one(found, (call.param("slug"), call.param("network")), "slug"))


@catalogue.patch("/contracts/{slug}/{network}", body=ContractChange, answer=ContractView, **CHANGED)
def update_contract(call: Call) -> ContractView:
    """Change a binding; its address and kind never change, because what was paid there is read to the end."""
    admin = call.engine.admin(call.who)
    return contract_view(admin.update_contract(call.param("slug"), call.param("network"), **given(call.body)))


@catalogue.post("/contracts/{slug}/{network}/archive", body=VersionBody, answer=ContractView, **CHANGED)
def archive_contract(call: Call) -> ContractView:
    """Take a binding out of use for new orders; its events are still read."""
    admin = call.engine.admin(call.who)
    return contract_view(admin.archive_contract(call.param("slug"), call.param("network"), **given(call.body)))


@catalogue.post(
    "/contracts/{slug}/{network}/simulate",
    body=SimulateBody,
    answer=SimulationView,
    errors=(NotFound, Conflict, UnknownNetwork, RpcUnavailable),
)
def simulate_contract(call: Call) -> SimulationView:
    """Try the call that would pay an order on a mapped contract, as the chain stands now; nothing is sent or stored.

    The answer holds the gas that the node measured. Save `offered_gas` as the binding's `gas`.
    """
    desk = call.engine.contracts(call.who)
    return simulation_view(desk.simulate(call.param("slug"), call.param("network"), **given(call.body)))


@catalogue.post(
    "/contracts/{slug}/{network}/pin",
    body=VersionBody,
    answer=ContractView,
    errors=(NotFound, UnknownNetwork, VersionConflict, RpcUnavailable),
)
def pin_contract(call: Call) -> ContractView:
    """Trust the code that stands now behind a mapped contract and its tokens; look first. Other code halts it."""
    desk = call.engine.contracts(call.who)
    return contract_view(desk.pin(call.param("slug"), call.param("network"), **given(call.body)))


@catalogue.get("/plans", name="list_all_plans", access="finance_ops", answer=AdminPlanList)
def list_all_plans(call: Call) -> AdminPlanList:
    """All plans in their newest version, archived ones too."""
    return AdminPlanList(plans=[admin_plan_view(plan) for plan in call.engine.admin(call.who).plans()])


@catalogue.post("/plans", body=PlanBody, answer=AdminPlanView, **MADE)
def create_plan(call: Call) -> AdminPlanView:
    """Put a plan on sale."""
    return admin_plan_view(call.engine.admin(call.who).create_plan(**_plan_fields(call.body)))


@catalogue.get("/plans/{slug}", access="finance_ops", answer=AdminPlanView, errors=(NotFound,))
def get_plan(call: Call) -> AdminPlanView:
    """A plan in its newest version."""
    found = {plan.slug: plan for plan in call.engine.admin(call.who).plans()}
    return admin_plan_view(_one(found, call.param("slug"), "slug"))


@catalogue.patch("/plans/{slug}", body=PlanChange, answer=AdminPlanView, **CHANGED)
def revise_plan(call: Call) -> AdminPlanView:
    """Put a new version of a plan on sale; running subscriptions keep theirs."""
    return admin_plan_view(call.engine.admin(call.who).revise_plan(call.param("slug"), **_plan_fields(call.body)))


@catalogue.post("/plans/{slug}/archive", body=EmptyBody, answer=AdminPlanView, errors=(NotFound, UnknownPlan))
def archive_plan(call: Call) -> AdminPlanView:
    """Sell a plan no longer; running subscriptions go on."""
    return admin_plan_view(call.engine.admin(call.who).archive_plan(call.param("slug")))


def _plan_fields(body: Body) -> dict[str, Any]:
    """Return a plan's fields as the engine takes them: the interval with its count."""
    fields = given(body)
    if "prices" in fields:
        fields["prices"] = [{k: v for k, v in price.items() if v is not None} for price in fields["prices"] or ()]
    if fields.get("price_usd_estimate") is not None:
        fields["price_usd_estimate"] = _estimate(fields["price_usd_estimate"])
    count = fields.pop("interval_count", None)
    if count is not None:
        fields["interval"] = (fields.get("interval"), count)
    return fields


def _estimate(value: dict[str, str]) -> FiatEstimate:
    """Read an estimate whose form was checked."""
    try:
        day = date.fromisoformat(value["as_of"])
    except ValueError:
        raise InputError("there is no such day", field="price_usd_estimate.as_of") from None
    return FiatEstimate(amount=Decimal(value["amount"]), currency=value.get("currency", "USD"), as_of=day)


def _one(found: dict[Any, Any], key: Any, field: str) -> Any:
    if key not in found:
        raise NotFound(field=field)
    return found[key]
