"""The desk's view of what works in the background: readers of chains, nodes, messages."""

from __future__ import annotations

from typing import Any

from evmbilling.errors import Conflict, NotFound
from evmbilling.integrations.http.admin_views import delivery_view, endpoint_view, reader_view
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.routes import Call, RouteTable
from evmbilling.integrations.pages.forms import read_form, see_other
from evmbilling.integrations.pages.rendering import DESK, draw_desk

health_pages = RouteTable("desk", access="finance_ops", prefix="/desk")
_ROWS = 100
_WAITING = 20


@health_pages.get("/health", produces="text/html; charset=utf-8")
def get_desk_health(call: Call) -> Answer:
    """How readers, nodes and deliveries are."""
    deliveries = call.engine.deliveries(call.who)
    return draw_desk(
        "desk_health.html",
        call,
        here="health",
        readers=readers_of(call),
        networks=call.engine.networks_health(),
        endpoints=[endpoint_view(endpoint) for endpoint in call.engine.endpoints(call.who).list()],
        dead=[delivery_view(delivery) for delivery in deliveries.list(state="dead", limit=_ROWS)],
        waiting=[delivery_view(delivery) for delivery in deliveries.list(state="waiting", limit=_WAITING)],
    )


@health_pages.post("/deliveries/{event_id}/redeliver", errors=(NotFound, Conflict))
def send_again(call: Call) -> Answer:
    """Try a delivery once more."""
    form = read_form(call, "sink")
    call.engine.deliveries(call.who).redeliver(call.param("event_id"), form.get("sink", ""))
    return see_other(f"{DESK}/health")


def readers_of(call: Call) -> list[dict[str, Any]]:
    """Return how far each network was read, and why nothing new is sold there, where that is so."""
    return [
        {**reader_view(status), "unavailable": None if status.unavailable is None else str(status.unavailable)}
        for status in call.engine.reader(call.who).status()
    ]
