"""Whether this machine's clock can be believed: against the database's clock and the time of the chains.

A clock that jumped forward would make everything due; one that went back would let nothing fall due. The scheduler
stands still until it agrees again, and says so once a day.
"""

from __future__ import annotations

import logging
from datetime import datetime

from evmbilling.domain.decisions import Publish
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.engine.context import Ports, Runner
from evmbilling.errors import AlreadyExists
from evmbilling.ports.storage import Unit

_log = logging.getLogger("evmbilling.clock")


def clock_doubt(ports: Ports, runner: Runner) -> str | None:
    """Return why the clock cannot be believed: ``clock_ahead``, ``clock_behind``; None when it can."""
    tolerance = ports.clock_tolerance
    if tolerance is None:
        return None
    now, database = ports.clock.now(), ports.storage.now()
    reason = None
    if now > database + tolerance:
        reason = "clock_ahead"
    elif now < max(database, runner.read(_newest_block) or database) - tolerance:
        reason = "clock_behind"
    if reason is None:
        return None
    ports.telemetry.count("scheduler_halted", reason=reason)
    times = ports.sampler.times(f"scheduler {reason}")
    if times is not None:
        _log.error("nothing falls due: this clock cannot be believed", extra={"reason": reason, "times": times})
    day = database.date().isoformat()
    event = Event(
        event_id=ports.ids.new_id(),
        type=EventType.SCHEDULER_HALTED,
        aggregate=f"scheduler:{day}",
        seq=1,
        occurred_at=database,
        recorded_at=database,
        data={"reason": reason, "clock": now.isoformat(), "database": database.isoformat()},
    )
    try:
        runner.write(lambda unit: unit.apply([Publish(event)]))
    except AlreadyExists:
        return reason  # it was said today
    return reason


def _newest_block(unit: Unit) -> datetime | None:
    """Return the time of the newest block that was read of a network that is no test network: those set their time."""
    real = {network.chain_id for network in unit.networks() if not network.testnet}
    return max((c.block.timestamp for c in unit.cursors() if c.chain_id in real), default=None)
