"""The outbox and the audit log, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import attrs

from evmbilling.adapters.memory.appended import note_appended
from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.values import json_copy
from evmbilling.domain import decisions as d
from evmbilling.domain.messages.events import AuditEntry, Event
from evmbilling.errors import AlreadyExists

RecordDecision = d.Publish | d.RecordAudit


class MemoryRecords(Reads):
    """Implements :class:`evmbilling.ports.storage.RecordReads`. What it returns shares nothing with what is stored."""

    def events(self, *, aggregate: str | None = None, type_: str | None = None, limit: int = 100) -> Sequence[Event]:
        """Return events of the outbox by (recorded_at, event id), oldest first."""
        rows = self._tables.events
        found = rows.values() if aggregate is None else rows.find("aggregate", aggregate)
        wanted = [event for event in found if type_ is None or event.type == type_]
        page = sorted(wanted, key=lambda e: (e.recorded_at, e.event_id))[:limit]
        return [attrs.evolve(event, data=json_copy("data", event.data)) for event in page]

    def audit(self, *, object_: str | None = None, limit: int = 100) -> Sequence[AuditEntry]:
        """Return audit entries by (recorded_at, audit id), oldest first."""
        rows = self._tables.audit
        found = rows.values() if object_ is None else rows.find("object", object_)
        page = sorted(found, key=lambda e: (e.recorded_at, e.audit_id))[:limit]
        return [attrs.evolve(entry, changes=json_copy("changes", entry.changes)) for entry in page]


def _publish(tables: Tables, event: Event) -> None:
    """Append an event to the outbox."""
    if tables.events.get(event.event_id) is not None:
        raise AlreadyExists("this event is published", field="event_id")
    if tables.events.find("seq", (event.aggregate, event.seq)):
        raise AlreadyExists("an event with this number is published", field="seq")
    tables.events.put(event.event_id, event)
    tables.unsent.put(event.event_id, event)
    note_appended(tables, "outbox", event.event_id, event.recorded_at)


def _record_audit(tables: Tables, entry: AuditEntry) -> None:
    """Append an audit entry."""
    if tables.audit.get(entry.audit_id) is not None:
        raise AlreadyExists("this audit entry is written", field="audit_id")
    tables.audit.put(entry.audit_id, entry)
    note_appended(tables, "audit", entry.audit_id, entry.recorded_at)


def write(tables: Tables, decision: RecordDecision) -> None:
    """Append one record."""
    match decision:
        case d.Publish(event):
            _publish(tables, event)
        case d.RecordAudit(entry):
            _record_audit(tables, entry)
        case _:
            assert_never(decision)
