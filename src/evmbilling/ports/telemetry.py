"""Counting and tracing, for whoever listens."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Telemetry(Protocol):
    """Receives counts and spans. Attributes are bounded words and ids; never secrets, never personal data."""

    def count(self, name: str, value: int = 1, **labels: str) -> None:
        """Add to a counter.

        ``rpc_milliseconds`` and ``confirmations_waited`` are measurements: each call tells one value.
        """
        ...

    def span(
        self, name: str, *, parent: str | None = None, links: Sequence[str] = (), **attributes: str
    ) -> AbstractContextManager[None]:
        """Record a piece of work.

        Args:
            name: of the kind of work, ``billing.intake``.
            parent: the context that it is a part of; the present one when left out.
            links: contexts of what it follows from: they ended long ago, in other processes.
            attributes: what it is about.

        """
        ...

    def context(self) -> str | None:
        """Return what the present span is known by elsewhere, as W3C ``traceparent``; None when none is recorded."""
        ...

    def link(self, context: str) -> None:
        """Say that the present span follows from another one."""
        ...

    def annotate(self, **attributes: str) -> None:
        """Say what the present span turned out to be about."""
        ...


class NoTracing:
    """The half of :class:`Telemetry` that records spans, for one that records none."""

    def span(
        self, name: str, *, parent: str | None = None, links: Sequence[str] = (), **attributes: str
    ) -> AbstractContextManager[None]:
        """Record nothing."""
        del name, parent, links, attributes
        return _NOTHING

    def context(self) -> str | None:
        """There is no span."""
        return None

    def link(self, context: str) -> None:
        """Ignore it."""

    def annotate(self, **attributes: str) -> None:
        """Ignore it."""


_NOTHING: AbstractContextManager[None] = nullcontext()
