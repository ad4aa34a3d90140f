"""What a path for metrics answers, whatever serves it: a worker's own endpoint, or a host's ``/v1/metrics``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from evmbilling.errors import BillingError, MissingExtra
from evmbilling.working.health import Page

if TYPE_CHECKING:
    from evmbilling.engine.core import Engine
    from evmbilling.ports.telemetry import Telemetry


def make_telemetry() -> Telemetry | None:
    """Return what counts for Prometheus, for ``BillingEngine(telemetry=…)``; None without the extra."""
    try:
        from evmbilling.adapters.prometheus import PrometheusTelemetry
    except MissingExtra:
        return None
    return PrometheusTelemetry()


def metrics_page(engine: Engine) -> Page:
    """Return the metrics of an engine, as Prometheus reads them.

    503 with the reason where the extra is not installed, or the database does not answer. Whoever mounts it decides who
    may read it: figures of a business are nobody else's concern.
    """
    try:
        from evmbilling.adapters.prometheus import CONTENT_TYPE, render
    except MissingExtra as absent:
        return _unavailable(absent.code, absent.message)
    watch = engine.watch
    try:
        return Page(200, render(watch.figures, watch.telemetry), CONTENT_TYPE)
    except BillingError as error:
        return _unavailable(error.code, error.message)


def _unavailable(code: str, reason: str) -> Page:
    body = json.dumps({"status": "unavailable", "code": code, "reason": reason})
    return Page(503, body.encode() + b"\n")
