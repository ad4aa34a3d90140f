"""The desk's view of what works in the background: readers of chains, workers, nodes, messages."""

from __future__ import annotations

from typing import Any

from evmbilling.errors import BillingError, Conflict, NotFound
from evmbilling.integrations.http.admin_views import delivery_view, endpoint_view, reader_view
from evmbilling.integrations.http.messages import Answer
from evmbilling.integrations.http.routes import Call
from evmbilling.integrations.pages.desk_base import DeskTable, acted, desk_link, draw_desk
from evmbilling.integrations.pages.forms import read_form
from evmbilling.working import chosen

health_pages = DeskTable()
_ROWS = 100
_WAITING = 20


@health_pages.get("/health")
def get_desk_health(call: Call) -> Answer:
    """How readers, workers, nodes and deliveries are."""
    return _health_page(call)


@health_pages.post("/deliveries/{event_id}/redeliver", errors=(NotFound, Conflict))
def send_again(call: Call) -> Answer:
    """Try a delivery once more."""
    form = read_form(call, "sink")

    def work() -> str:
        call.engine.deliveries(call.who).redeliver(call.param("event_id"), form.get("sink", ""))
        return desk_link(call, "/health", done="redeliver")

    return acted(work, lambda error: _health_page(call, wrong=error))


def readers_of(call: Call) -> list[dict[str, Any]]:
    """Return how far each network was read, and why nothing new is sold there, where that is so."""
    return [
        {**reader_view(status), "unavailable": None if status.unavailable is None else str(status.unavailable)}
        for status in call.engine.reader(call.who).status()
    ]


def _health_page(call: Call, wrong: BillingError | None = None) -> Answer:
    deliveries = call.engine.deliveries(call.who)
    return draw_desk(
        "desk_health.html",
        call,
        here="health",
        wrong=wrong,
        readers=readers_of(call),
        steps=_steps(call),
        nodes=[(network.network, node) for network in call.engine.networks_health() for node in network.nodes],
        endpoints=[endpoint_view(endpoint) for endpoint in call.engine.endpoints(call.who).list()],
        dead=[delivery_view(delivery) for delivery in deliveries.list(state="dead", limit=_ROWS)],
        waiting=[delivery_view(delivery) for delivery in deliveries.list(state="waiting", limit=_WAITING)],
    )


def _steps(call: Call) -> list[dict[str, Any]]:
    """Return the steps of a worker, and whether somebody does them; a setting may leave one out on purpose."""
    alive = call.engine.watch.alive()
    return [
        {"name": step.name, "alive": step.name in alive, "needed": step.needs is None} for step in chosen(call.engine)
    ]
