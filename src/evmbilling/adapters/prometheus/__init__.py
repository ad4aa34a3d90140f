"""Metrics for Prometheus (extra ``metrics``): counters of this process, and gauges read from the database."""

from evmbilling.adapters.prometheus.catalogue import COUNTERS, GAUGES, HISTOGRAMS, LIMIT, VERIFIED
from evmbilling.adapters.prometheus.page import CONTENT_TYPE, render
from evmbilling.adapters.prometheus.telemetry import PrometheusTelemetry
from evmbilling.adapters.prometheus.verified import write_verified

__all__ = [
    "CONTENT_TYPE",
    "COUNTERS",
    "GAUGES",
    "HISTOGRAMS",
    "LIMIT",
    "VERIFIED",
    "PrometheusTelemetry",
    "render",
    "write_verified",
]
