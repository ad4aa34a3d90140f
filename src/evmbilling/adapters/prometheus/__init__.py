"""Metrics for Prometheus (extra ``metrics``): counters of this process, and gauges read from the database.

Importing it without the extra is a :class:`~evmbilling.errors.MissingExtra`.
"""

from importlib.util import find_spec

from evmbilling.errors import MissingExtra

if find_spec("prometheus_client") is None:
    raise MissingExtra("metrics need their extra: pip install 'evmbilling[metrics]'", field="metrics")

from evmbilling.adapters.prometheus.catalogue import COUNTERS, GAUGES, LIMIT
from evmbilling.adapters.prometheus.page import CONTENT_TYPE, render
from evmbilling.adapters.prometheus.telemetry import PrometheusTelemetry

__all__ = ["CONTENT_TYPE", "COUNTERS", "GAUGES", "LIMIT", "PrometheusTelemetry", "render"]
