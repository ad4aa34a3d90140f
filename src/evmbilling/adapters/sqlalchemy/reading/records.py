"""Reads of the outbox and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.session import Session
from evmbilling.adapters.sqlalchemy.rows import money as rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.messages.events import AuditEntry, Event


class RecordStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        outbox, audit = tables["outbox"], tables["audit"]
        self.events = sa.select(outbox).order_by(outbox.c.recorded_at, outbox.c.event_id).limit(bindparam("most"))
        self.of_aggregate = outbox.c.aggregate == bindparam("aggregate")
        self.of_type = outbox.c.type == bindparam("type_")
        self.audit = sa.select(audit).order_by(audit.c.recorded_at, audit.c.audit_id).limit(bindparam("most"))
        self.of_object = audit.c.object == bindparam("object_")


class RecordReader(Session):
    """Implements :class:`evmbilling.ports.storage.RecordReads`."""

    def events(self, *, aggregate: str | None = None, type_: str | None = None, limit: int = 100) -> Sequence[Event]:
        """Return events of the outbox by (recorded_at, event id), oldest first."""
        statements = self._statements.records
        statement, values = statements.events, dict[str, Any](most=limit)
        if aggregate is not None:
            statement, values["aggregate"] = statement.where(statements.of_aggregate), aggregate
        if type_ is not None:
            statement, values["type_"] = statement.where(statements.of_type), type_
        return [rows.read_event(row) for row in self._composed(statement, **values)]

    def audit(self, *, object_: str | None = None, limit: int = 100) -> Sequence[AuditEntry]:
        """Return audit entries, oldest first."""
        statements = self._statements.records
        statement, values = statements.audit, dict[str, Any](most=limit)
        if object_ is not None:
            statement, values["object_"] = statement.where(statements.of_object), object_
        return [rows.read_audit(row) for row in self._composed(statement, **values)]
