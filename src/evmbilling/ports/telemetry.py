"""Counting and tracing, for whoever listens."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Telemetry(Protocol):
    """Receives counts and spans. Attributes are bounded words and ids; never secrets."""

    def count(self, name: str, value: int = 1, **labels: str) -> None:
        """Add to a counter.

        ``rpc_milliseconds`` and ``confirmations_waited`` are measurements: each call tells one value.
        """
        ...

    def span(self, name: str, **attributes: str) -> AbstractContextManager[None]:
        """Time a piece of work."""
        ...
