"""The ``log`` notifier: every event as one line of JSON in Python's own logging."""

from __future__ import annotations

import json
import logging
from typing import Any

from evmbilling.domain.messages.events import Event

DEFAULT_LOGGER = "evmbilling.events"


class LogNotifier:
    """Writes events to a logger (port :class:`evmbilling.ports.notifier.Notifier`).

    The line is JSON in ASCII, so whatever a host's ids, slugs or texts hold, a line stays one line and a terminal
    sees no control character. Handlers that write structured logs find the same facts in ``record.billing_event``.

    Args:
        logger: name of the logger.
        level: a level of :mod:`logging`.

    """

    def __init__(self, *, logger: str = DEFAULT_LOGGER, level: int = logging.INFO) -> None:
        self._logger = logging.getLogger(logger)
        self._level = level

    def notify(self, event: Event) -> None:
        """Log one event."""
        facts = event_facts(event)
        self._logger.log(self._level, "%s", one_line(facts), extra={"billing_event": facts})


def event_facts(event: Event) -> dict[str, Any]:
    """Return an event under its CloudEvents names, with its ``seq``; instants in ISO 8601."""
    return {
        "id": event.event_id,
        "type": str(event.type),
        "subject": event.aggregate,
        "seq": event.seq,
        "time": event.occurred_at.isoformat(),
        "recorded": event.recorded_at.isoformat(),
        "data": event.data,
    }


def one_line(facts: dict[str, Any]) -> str:
    r"""Return JSON on one line of printable ASCII; control characters become ``\uXXXX``."""
    # JSON leaves DEL alone; what is no JSON value is shown as text rather than lost with the whole event.
    return json.dumps(facts, ensure_ascii=True, separators=(",", ":"), default=str).replace("\x7f", "\\u007f")
