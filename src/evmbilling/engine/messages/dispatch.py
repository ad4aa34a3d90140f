"""The dispatcher: events of the outbox become deliveries, deliveries leave, outcomes are stored.

A delivery is claimed in one short transaction, made outside of any, and its outcome stored in another. A claim is a
lease in the row itself: ``next_at`` moves behind the lease, ``attempts`` stays. So while a first attempt is under way
the later events of its aggregate keep their place behind it, in every process. Who ends in between leaves the row to
be taken again when the lease is over: a message leaves at least once, and its id tells the second from the first.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

import attrs
from attrs import define, field, frozen

from evmbilling.domain.decisions import Decision, OpenDeliveries, RecordAudit, SaveEndpoint, StoreDelivery
from evmbilling.domain.messages.delivery import CHANCE, Attempt, claimed, first_delivery, settled
from evmbilling.domain.messages.events import AuditEntry, Event
from evmbilling.domain.messages.messages import Delivery
from evmbilling.engine.context import Ports, Runner
from evmbilling.engine.messages.quiet import Quiet
from evmbilling.engine.messages.sinks import (
    EndpointSink,
    Sink,
    endpoint_sinks,
    error_word,
    own_sinks,
    takers,
    throttles,
)
from evmbilling.errors import VersionConflict
from evmbilling.ports.crash import crash_point
from evmbilling.ports.lanes import Call, Finished
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.dispatch")
BUDGET = timedelta(seconds=30)
"""How long one call of the dispatcher begins deliveries; what it then still holds is given back."""
SPARE = timedelta(seconds=60)
"""How much longer than budget and time limit a claim lasts: for the transaction that stores the outcome."""
_BACK_OFF = timedelta(seconds=5)


@frozen(kw_only=True)
class DispatchReport:
    """What one call of the dispatcher did.

    Attributes:
        handed_out: events that became deliveries.
        delivered, failed, dead: outcomes; a failed one is tried again.
        spared: reversals that were undone in time, and their restorations: people are not told.
        left: given back without an attempt, or taken over by another dispatcher meanwhile.

    """

    handed_out: int = 0
    delivered: int = 0
    failed: int = 0
    dead: int = 0
    spared: int = 0
    left: int = 0


@frozen
class _Held:
    """A delivery in our hands, with its event."""

    delivery: Delivery
    event: Event


@define
class _Lane:
    """One sink's batch. ``stopped`` is set by the lane's own thread and read by its later calls."""

    sink: Sink
    held: list[_Held] = field(factory=list)
    stopped: Attempt | None = None


def run_dispatch(ports: Ports, runner: Runner, *, limit: int, sinks: Collection[str] | None = None) -> DispatchReport:
    """Hand out and deliver one batch; see :meth:`evmbilling.engine.core.Engine.dispatch`."""
    return _Round(ports, runner, limit, sinks).run()


class _Round:
    def __init__(self, ports: Ports, runner: Runner, limit: int, sinks: Collection[str] | None) -> None:
        self._ports = ports
        self._runner = runner
        self._limit = limit
        self._wanted = sinks
        self._count: Counter[str] = Counter()
        self._raised: BaseException | None = None

    def run(self) -> DispatchReport:
        """Hand out, claim, deliver, store; a BaseException of a receiver is raised again when all is stored."""
        handed_out = self._runner.write(self._hand_out)
        crash_point("dispatch.handed_out")
        lanes, spared = self._runner.write(self._claim)
        crash_point("dispatch.claimed")
        if lanes:
            with self._ports.telemetry.span("billing.dispatch"):
                self._deliver_all(lanes)
        if self._raised is not None:
            raise self._raised
        return DispatchReport(
            handed_out=handed_out,
            delivered=self._count["done"],
            failed=self._count["failed"],
            dead=self._count["dead"],
            spared=spared,
            left=self._count["left"],
        )

    def _deliver_all(self, lanes: dict[str, _Lane]) -> None:
        # Lanes have threads of their own, which know nothing of the present span.
        within = self._ports.telemetry.context()
        calls = {lane.sink.name: self._calls(lane, within) for lane in lanes.values()}
        for finished in self._ports.lanes.run(calls, BUDGET):
            self._store([(lanes[one.lane], lanes[one.lane].held[one.index], self._attempt(one)) for one in finished])
            crash_point("dispatch.stored")

    def _hand_out(self, unit: Unit) -> int:
        events = unit.claim_events(self._limit)
        if not events:
            return 0
        now = self._ports.storage.now()
        sinks = [*own_sinks(self._ports), *endpoint_sinks(self._ports, unit)]
        unit.apply([OpenDeliveries(event.event_id, _deliveries(event, sinks, now)) for event in events])
        return len(events)

    def _claim(self, unit: Unit) -> tuple[dict[str, _Lane], int]:
        """Take what is due of every sink that has room."""
        now = self._ports.storage.now()
        lanes: dict[str, _Lane] = {}
        decisions: list[Decision] = []
        quiet = Quiet(unit, now)
        for sink in self._open_lanes(unit):
            lane = _Lane(sink)
            until = now + BUDGET + sink.profile.limit + SPARE
            due = unit.claim_deliveries(sink.name, now, self._limit, ordered=sink.profile.ordered)
            for delivery, event in zip(due, quiet.events(due), strict=True):
                if sink.profile.quiet is not None and quiet.spares(delivery, event):
                    decisions.append(StoreDelivery(quiet.spared(delivery)))
                    continue
                mine = claimed(delivery, until)
                decisions.append(StoreDelivery(mine))
                lane.held.append(_Held(mine, event))
            if lane.held:
                lanes[sink.name] = lane
        unit.apply(decisions)
        return lanes, quiet.count

    def _open_lanes(self, unit: Unit) -> Iterable[Sink]:
        """Return the sinks that can be delivered to from here, now."""
        endpoints = endpoint_sinks(self._ports, unit) if self._ports.webhooks is not None else ()
        for sink in [*own_sinks(self._ports), *endpoints]:
            if (self._wanted is None or sink.name in self._wanted) and self._ports.lanes.has_room(sink.name):
                yield sink

    def _calls(self, lane: _Lane, within: str | None) -> Sequence[Call]:
        return [Call(partial(self._deliver, lane, held, within), lane.sink.profile.limit) for held in lane.held]

    def _deliver(self, lane: _Lane, held: _Held, within: str | None) -> Attempt:
        """Make one delivery, in the lane's thread: no transaction is open here."""
        if lane.stopped is not None:
            return lane.stopped
        attempt = self._send(lane.sink, held.event, within)
        crash_point("dispatch.sent")
        if throttles(attempt):
            lane.stopped = Attempt(outcome="not_begun", retry_after=attempt.retry_after or _BACK_OFF)
        elif attempt.outcome == "gone":
            lane.stopped = Attempt(outcome="not_begun")
        return attempt

    def _send(self, sink: Sink, event: Event, within: str | None) -> Attempt:
        """Deliver in a span that is part of this round and follows from whatever published the event."""
        telemetry = self._ports.telemetry
        links = () if event.trace is None else (event.trace,)
        with telemetry.span(
            "billing.deliver",
            parent=within,
            links=links,
            sink=sink.name.partition(":")[0],
            event_type=event.type,
            event_id=event.event_id,
        ):
            attempt = sink.deliver(event)
            telemetry.annotate(outcome=attempt.outcome)
            return attempt

    def _attempt(self, finished: Finished) -> Attempt:
        if not finished.begun:
            return Attempt(outcome="not_begun")
        if finished.overdue:
            return Attempt(outcome="failed", error="not done in time")
        if finished.error is not None:
            self._raised = self._raised or finished.error
            return Attempt(outcome="failed", error=error_word(finished.error))
        if not isinstance(finished.result, Attempt):
            return Attempt(outcome="failed", error="no outcome")
        return finished.result

    def _store(self, outcomes: Sequence[tuple[_Lane, _Held, Attempt]]) -> None:
        """Store outcomes together; when somebody else took one over, each alone."""
        now = self._ports.storage.now()
        changes = [
            (lane, attempt, settled(held.delivery, attempt, now, self._jitter())) for lane, held, attempt in outcomes
        ]
        try:
            self._runner.write(lambda unit: self._write(unit, changes, now))
        except VersionConflict:
            for change in changes:
                self._store_alone(change, now)
        else:
            for _, attempt, after in changes:
                self._tell(after, attempt)

    def _store_alone(self, change: tuple[_Lane, Attempt, Delivery], now: datetime) -> None:
        try:
            self._runner.write(lambda unit: self._write(unit, [change], now))
        except VersionConflict:
            # Our lease was over, or a person replayed it meanwhile: theirs is the newer word.
            self._count["left"] += 1
        else:
            self._tell(change[2], change[1])

    def _write(self, unit: Unit, changes: Iterable[tuple[_Lane, Attempt, Delivery]], now: datetime) -> None:
        decisions: list[Decision] = []
        for lane, attempt, after in changes:
            decisions.append(StoreDelivery(after))
            if attempt.outcome == "gone" and isinstance(lane.sink, EndpointSink):
                decisions += self._disabled(unit, lane.sink.endpoint.endpoint_id, now)
        unit.apply(decisions)

    def _disabled(self, unit: Unit, endpoint_id: str, now: datetime) -> Sequence[Decision]:
        """Disable an endpoint that answered 410; what waits for it stays, for the case that it is enabled again."""
        endpoint = unit.endpoint(endpoint_id)
        if endpoint is None or endpoint.disabled_at is not None:
            return ()
        off = attrs.evolve(endpoint, disabled_at=now, disabled_reason="gone", version=endpoint.version + 1)
        entry = AuditEntry(
            audit_id=self._ports.ids.new_id(),
            actor="system",
            action="endpoint.disable",
            object=f"endpoint:{endpoint_id}",
            changes={"reason": "the endpoint answered 410"},
            recorded_at=now,
        )
        return SaveEndpoint(off), RecordAudit(entry)

    def _jitter(self) -> int:
        digest = hashlib.sha256(self._ports.ids.token().encode()).digest()
        return int.from_bytes(digest, "big") % CHANCE

    def _tell(self, after: Delivery, attempt: Attempt) -> None:
        outcome = "left" if attempt.outcome == "not_begun" else "failed" if after.state == "waiting" else after.state
        self._count[outcome] += 1
        if outcome == "dead":
            facts = {"event_id": after.event_id, "sink": after.sink, "attempts": after.attempts}
            _log.warning("a message was given up", extra=facts)
        kind, _, name = after.sink.partition(":")
        self._ports.telemetry.count("deliveries", sink=kind if kind == "webhook" else name, outcome=outcome)


def _deliveries(event: Event, sinks: Sequence[Sink], now: datetime) -> tuple[Delivery, ...]:
    return tuple(first_delivery(event, sink.name, sink.profile, now) for sink in takers(sinks, event))
