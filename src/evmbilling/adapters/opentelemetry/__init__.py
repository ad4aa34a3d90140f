"""Spans for OpenTelemetry; only its API is needed, and nothing is recorded until a host sets up an SDK."""

from evmbilling.adapters.opentelemetry.telemetry import ATTRIBUTES, SPANS, OpenTelemetry

__all__ = ["ATTRIBUTES", "SPANS", "OpenTelemetry"]
