# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/events.md`` from the catalogue of events, so that the two cannot drift apart.

::

    python tools/event_docs.py             write it
    python tools/event_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from written import keep

from evmbilling.domain.messages.delivery import JITTER_PERCENT, LONGEST_WAIT, QUIET, SCHEDULE
from evmbilling.domain.messages.event_catalogue import CATALOGUE
from evmbilling.domain.messages.event_flows import FLOWS

HEAD = """\
# Events

Written by `tools/event_docs.py` from `evmbilling.domain.messages.event_catalogue` and
`evmbilling.domain.messages.event_flows`; tests run every flow below against it.

An event is written in the transaction of its effect. The dispatcher hands it out to every sink that takes it: the
engine's notifiers, the enabled webhook endpoints, and the quota backend for `billing.plan.changed.v1`. It leaves at
least once. Receivers tell a repetition by its id, and one that came too early by its `seq`.

## The envelope

CloudEvents 1.0, structured JSON (`application/cloudevents+json`). Webhooks sign exactly these bytes.

| attribute | meaning |
|---|---|
| `specversion` | `1.0` |
| `id` | of the event; the same at every attempt, and the `webhook-id` |
| `source` | `urn:evmbilling:<instance id>` |
| `type` | as below |
| `subject` | the aggregate: what the event is about |
| `seq` | number of the event within its subject; it only grows |
| `time` | when it happened: block time, where a block made it happen |
| `recordedat` | when billing learned of it |
| `data` | as below; amounts are base units as text, instants are ISO 8601 |
"""


def render() -> str:
    """The whole file."""
    return "\n".join([HEAD, *_delivery(), *_types(), *_flows()])


def _delivery() -> Iterator[str]:
    pauses = ", ".join(_pause(pause) for pause in SCHEDULE)
    yield "## Delivery\n"
    yield "* First attempts go in `seq` order within a subject. A failure does not hold the next one back, unless the"
    yield "  endpoint is `ordered`."
    yield f"* Pauses before the attempts: {pauses}; each up to {JITTER_PERCENT} % longer by chance. Then it is dead:"
    yield "  `engine.deliveries(actor)` lists it and a person tries it again."
    yield "* Webhooks: 2xx is success, all else fails, redirects too. 410 disables the endpoint. `Retry-After` of"
    yield f"  429, 502, 503 and 504 is honoured up to {_pause(LONGEST_WAIT)}."
    yield f"* People hear of a reversal after {_pause(QUIET)}, and not at all if it was undone by then.\n"


def _types() -> Iterator[str]:
    yield "## Types\n"
    for type_, entry in CATALOGUE.items():
        yield f"### `{type_}`\n"
        yield f"{entry.meaning} Subject: `{entry.aggregate}`.\n"
        yield from _table("data", entry.fields)
        if entry.sometimes:
            yield from _table("sometimes", entry.sometimes)


def _table(title: str, fields: Mapping[str, str]) -> Iterator[str]:
    yield f"| {title} | meaning |"
    yield "|---|---|"
    yield from (f"| `{name}` | {meaning} |" for name, meaning in fields.items())
    yield ""


def _flows() -> Iterator[str]:
    yield "## Flows\n"
    yield "Each publishes exactly these events, in this order. Names without `billing.` and `.v1`.\n"
    yield "| flow | events |"
    yield "|---|---|"
    yield from (f"| {name} | {' → '.join(f'`{event}`' for event in events)} |" for name, events in FLOWS.items())
    yield ""


def _pause(pause: timedelta) -> str:
    seconds = int(pause.total_seconds())
    if seconds % 3600 == 0 and seconds:
        return f"{seconds // 3600} h"
    return f"{seconds // 60} min" if seconds % 60 == 0 and seconds else f"{seconds} s"


if __name__ == "__main__":
    keep("events.md", render(), tool="event_docs.py")
