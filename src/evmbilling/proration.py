"""Prices of parts of a period: ``prorate``, ``prorate_parts``, ``prorate_lines``; exact, in base units and seconds."""

from __future__ import annotations

from evmbilling.domain.subscriptions.proration import prorate, prorate_lines, prorate_parts, seconds_between

__all__ = ["prorate", "prorate_lines", "prorate_parts", "seconds_between"]
