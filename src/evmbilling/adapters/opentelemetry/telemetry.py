"""The port of telemetry over OpenTelemetry's API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from evmbilling._version import __version__
from evmbilling.errors import BillingError
from evmbilling.ports.telemetry import Telemetry

PREFIX: Final = "billing."
SPANS: Final = {
    "billing.checkout": "a checkout, until its order is written",
    "billing.webhook": "a webhook of a relay, from its signature to the inbox",
    "billing.read": "a range of blocks that a worker read, until it is written",
    "billing.fetch": "asking a node for the headers and logs of a range",
    "billing.decode": "sorting out what of them is about us; far below the head that is part of the fetching",
    "billing.write": "evidence and cursor, in one transaction",
    "billing.intake": "a batch of what was read on chain: receipts, orders, access, events in one transaction",
    "billing.renewals": "a batch of subscriptions of which something was due",
    "billing.charge": "a charge under a mandate: what the chain says of it, and what is done",
    "billing.relay": "our own transactions of one sender: signed, sent, followed",
    "billing.dispatch": "a round of deliveries that had any",
    "billing.deliver": "one attempt to deliver one event to one sink",
}
"""Every span, and what it is."""
ATTRIBUTES: Final = {
    "network": "name of the network",
    "chain_id": "the chain",
    "from_block": "the first block of a range",
    "to_block": "the last one",
    "ledger_id": "the order",
    "event_type": "type of the event",
    "event_id": "the event",
    "sink": "`notifier`, `webhook` or `quota`",
    "outcome": "how an attempt or a charge ended",
}
"""Every attribute, without its prefix; nothing else leaves, whatever is given."""
_VALUE: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_KINDS: Final = {"billing.deliver": SpanKind.PRODUCER}


class OpenTelemetry:
    """Records spans (port :class:`evmbilling.ports.telemetry.Telemetry`), and has counts counted by another one.

    Attributes are ids and words from a closed list: no user, no wallet, no address, no url. An error is its code; its
    words and its traceback stay in the process.

    Args:
        counts: who is told counts, such as a ``PrometheusTelemetry``; nobody when left out.
        tracer_provider: the global one when left out.

    """

    def __init__(self, counts: Telemetry | None = None, tracer_provider: trace.TracerProvider | None = None) -> None:
        self.counts = counts
        self._tracer = trace.get_tracer("evmbilling", __version__, tracer_provider)

    def count(self, name: str, value: int = 1, **labels: str) -> None:
        """Have it counted."""
        if self.counts is not None:
            self.counts.count(name, value, **labels)

    def span(
        self, name: str, *, parent: str | None = None, links: Sequence[str] = (), **attributes: str
    ) -> AbstractContextManager[None]:
        """Record a piece of work."""
        return self._recorded(name, parent, links, attributes)

    def context(self) -> str | None:
        """Return the present span as W3C ``traceparent``; None when it is not sampled."""
        found = trace.get_current_span().get_span_context()
        if not found.is_valid or not found.trace_flags.sampled:
            return None
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"

    def link(self, context: str) -> None:
        """Link the present span to another one."""
        found = _read(context)
        if found is not None:
            trace.get_current_span().add_link(found)

    def annotate(self, **attributes: str) -> None:
        """Set attributes of the present span."""
        trace.get_current_span().set_attributes(_bounded(attributes))

    @contextmanager
    def _recorded(
        self, name: str, parent: str | None, links: Sequence[str], attributes: dict[str, str]
    ) -> Iterator[None]:
        with self._tracer.start_as_current_span(
            name,
            context=_within(parent),
            kind=_KINDS.get(name, SpanKind.INTERNAL),
            attributes=_bounded(attributes),
            links=[Link(found) for found in map(_read, links) if found is not None],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except BaseException as error:
                code = error.code if isinstance(error, BillingError) else type(error).__name__
                span.set_status(Status(StatusCode.ERROR, code))
                raise


def _within(parent: str | None) -> Context | None:
    found = None if parent is None else _read(parent)
    return None if found is None else trace.set_span_in_context(NonRecordingSpan(found))


def _read(context: str) -> SpanContext | None:
    """Read a ``traceparent`` (W3C Trace Context, section 3.2); None when it is none."""
    match = _TRACEPARENT.fullmatch(context)
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    found = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return found if found.is_valid else None


def _bounded(attributes: dict[str, str]) -> dict[str, str]:
    return {
        PREFIX + name: str(value)
        for name, value in attributes.items()
        if name in ATTRIBUTES and _VALUE.fullmatch(str(value))
    }
