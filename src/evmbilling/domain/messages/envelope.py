"""Events as they leave: CloudEvents 1.0, structured JSON.

``seq`` is an extension attribute (an integer, as CloudEvents 1.0 section 2.1 allows): it counts within the subject
from 1, so a receiver that got a later event first can tell.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from evmbilling.domain.messages.events import Event
from evmbilling.domain.messages.messages import Outgoing

CONTENT_TYPE = "application/cloudevents+json"


def envelope(event: Event, instance_id: bytes) -> Outgoing:
    """Return an event's envelope; ``source`` names the instance that speaks."""
    # The extension for distributed tracing of CloudEvents: a receiver that traces goes on from there.
    traced = {} if event.trace is None else {"traceparent": event.trace}
    return Outgoing(
        event_id=event.event_id,
        body=traced
        | {
            "specversion": "1.0",
            "id": event.event_id,
            "source": f"urn:evmbilling:{instance_id.hex()}",
            "type": str(event.type),
            "subject": event.aggregate,
            "time": _rfc3339(event.occurred_at),
            "datacontenttype": "application/json",
            "seq": event.seq,
            "recordedat": _rfc3339(event.recorded_at),
            "data": event.data,
        },
    )


def body_bytes(outgoing: Outgoing) -> bytes:
    """Return the bytes that are signed and sent: the same ones at every attempt."""
    body: dict[str, Any] = outgoing.body
    return json.dumps(body, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
