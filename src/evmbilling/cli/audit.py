"""``evmbilling audit``: who changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evmbilling.cli.output import one_line, reporting, say, say_json
from evmbilling.domain.actors import Actor, Role

if TYPE_CHECKING:
    from evmbilling.domain.messages.events import AuditEntry


def audit(
    object_: Annotated[
        str | None, typer.Option("--object", metavar="OBJECT", help="Of one object only, for example plan:pro.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="ROWS", help="Entries at most.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Show the audit log, the oldest entries first. Secrets are shown as fingerprints."""
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine

        engine = BillingEngine.from_settings()
        try:
            found = engine.admin(Actor("cli", frozenset({Role.FINANCE_OPS}))).audit(object_=object_, limit=limit)
        finally:
            engine.close()
        if as_json:
            say_json({"entries": [_as_document(entry) for entry in found]})
        else:
            say("\n".join(_line(entry) for entry in found) or "nothing is recorded")


def _as_document(entry: AuditEntry) -> dict[str, Any]:
    return {
        "audit_id": entry.audit_id,
        "recorded_at": entry.recorded_at.isoformat(),
        "actor": entry.actor,
        "action": entry.action,
        "object": entry.object,
        "changes": entry.changes,
    }


def _line(entry: AuditEntry) -> str:
    when = entry.recorded_at.isoformat(timespec="seconds")
    return one_line(f"{when} {entry.actor} {entry.action} {entry.object} {entry.changes or ''}")
