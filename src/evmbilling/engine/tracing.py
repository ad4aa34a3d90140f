"""Traces across the outbox: an event carries the span that it was published in, and whoever delivers it links to that.

Between a request and its effect lies a payment on a chain, which carries no trace. The effect finds the request by the
event that opened the order: both name the order. Between reading and taking in lies the database, whose evidence is the
chain's and carries no trace either: a process that does both remembers which of its spans read which blocks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, cast

import attrs

from evmbilling.domain.decisions import Decision, Publish
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.ports.storage import Unit
from evmbilling.ports.telemetry import Telemetry

_PAYMENT: Final = "billing.payment."
_LOOKED_AT: Final = 100
_LINKS: Final = 32
"""How many requests the span of one batch links to at most."""


_READS: Final = 256
"""Ranges of blocks that a process remembers; older ones are not linked to."""


class Reads:
    """The spans in which this process read blocks with logs of ours; none while nothing is traced. Safe for threads."""

    def __init__(self) -> None:
        self._known: deque[tuple[int, range, str]] = deque(maxlen=_READS)
        self._lock = threading.Lock()

    def remember(self, chain_id: int, blocks: range, context: str | None) -> None:
        """Note that the span with this context read these blocks; nothing when it is not recorded."""
        if context is not None:
            with self._lock:
                self._known.append((chain_id, blocks, context))

    def link(self, telemetry: Telemetry, chain_id: int, blocks: Collection[int]) -> None:
        """Link the present span, when one is recorded, to those that read these blocks."""
        if not self._known or telemetry.context() is None:
            return
        with self._lock:
            known = [(span, context) for chain, span, context in self._known if chain == chain_id]
        found = dict.fromkeys(context for span, context in known if any(block in span for block in blocks))
        for context in list(found)[-_LINKS:]:
            telemetry.link(context)


def traced(unit: Unit, telemetry: Telemetry) -> Unit:
    """Return the unit; while a span is recorded, one whose events carry it."""
    context = telemetry.context()
    if context is None:
        return unit
    bare = unit._unit if isinstance(unit, _TracedUnit) else unit  # noqa: SLF001  - a span within another one
    return cast("Unit", _TracedUnit(bare, telemetry, context))


class _TracedUnit:
    def __init__(self, unit: Unit, telemetry: Telemetry, context: str) -> None:
        self._unit = unit
        self._telemetry = telemetry
        self._context = context
        self._linked: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unit, name)

    def apply(self, decisions: Sequence[Decision]) -> None:
        """Write decisions; events with the present span's context."""
        for event in (d.event for d in decisions if isinstance(d, Publish)):
            self._link(event)
        self._unit.apply([self._carrying(decision) for decision in decisions])

    def _carrying(self, decision: Decision) -> Decision:
        if not isinstance(decision, Publish) or decision.event.trace is not None:
            return decision
        return Publish(attrs.evolve(decision.event, trace=self._context))

    def _link(self, event: Event) -> None:
        """Link the present span to the request that a payment answers."""
        if event.type.startswith(_PAYMENT) and len(self._linked) < _LINKS:
            for context in self._requests(event):
                if context not in self._linked and context != self._context:
                    self._linked.add(context)
                    self._telemetry.link(context)

    def _requests(self, event: Event) -> Iterator[str]:
        ledger_id = event.data.get("ledger_id")
        opened = self._unit.events(aggregate=event.aggregate, type_=EventType.ORDER_OPENED, limit=_LOOKED_AT)
        for other in opened if ledger_id is not None else ():
            if other.trace is not None and other.data.get("ledger_id") == ledger_id:
                yield other.trace
