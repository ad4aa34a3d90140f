"""The text that Prometheus scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from evmbilling.adapters.prometheus.gauges import families
from evmbilling.adapters.prometheus.telemetry import PrometheusTelemetry
from evmbilling.domain.reading.watching import Figures

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Gauges(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        return families(self._figures)


def render(figures: Callable[[], Figures], telemetry: object) -> bytes:
    """Return gauges of the database, and counters of this process where a :class:`PrometheusTelemetry` counts them."""
    once = CollectorRegistry()
    once.register(_Gauges(figures()))
    counted = generate_latest(telemetry.registry) if isinstance(telemetry, PrometheusTelemetry) else b""
    return generate_latest(once) + counted
