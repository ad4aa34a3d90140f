"""Spans for OpenTelemetry (extra ``otel``): only its API is needed; nothing is recorded until a host sets up an SDK.

Importing it without the extra is a :class:`~evmbilling.errors.MissingExtra`.
"""

from importlib.util import find_spec

from evmbilling.errors import MissingExtra

if find_spec("opentelemetry") is None:
    raise MissingExtra("traces need their extra: pip install 'evmbilling[otel]'", field="otel")

from evmbilling.adapters.opentelemetry.telemetry import ATTRIBUTES, SPANS, OpenTelemetry

__all__ = ["ATTRIBUTES", "SPANS", "OpenTelemetry"]
