"""Our own transactions that are taken back before they are signed, and what the audit keeps of that."""

from __future__ import annotations

from collections.abc import Sequence

from evmbilling.domain.decisions import Decision, RecordAudit, StoreTransmission
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.sending.lane_turns import approval_subject, is_approval
from evmbilling.domain.sending.transmissions import Transmission, TransmissionStatus, withdraw
from evmbilling.engine.context import Ports
from evmbilling.engine.sending.lane_turns import reset_after
from evmbilling.ports.storage import Unit


def withdraw_queued(ports: Ports, unit: Unit, actor: str, refund_id: str) -> Sequence[Decision]:
    """Return the decisions that take back what waits to be sent for a refund, and what it needs to be allowed first.

    What was signed already is the chain's to end; what was allowed by it is taken back.
    """
    sent = unit.transmissions_of("refund", f"refund:{refund_id}")
    allowing = [approval for one in sent for approval in _approvals(unit, one)]
    waiting = [one for one in (*sent, *allowing) if one.status is TransmissionStatus.QUEUED]
    now = ports.clock.now()
    taken = [withdraw(one, now) for one in waiting]
    ended = [one for one in taken if not is_approval(one)]
    resets = [reset_after(unit, one, new_id=ports.ids.new_id(), now=now) for one in ended]
    told = [d for one in taken for d in (StoreTransmission(one), audit_transmission(ports, actor, "withdraw", one))]
    return [*told, *(StoreTransmission(reset) for reset in resets if reset is not None)]


def audit_transmission(ports: Ports, actor: str, verb: str, sent: Transmission) -> RecordAudit:
    """Return who did what with one of our own transactions."""
    return RecordAudit(
        AuditEntry(
            audit_id=ports.ids.new_id(),
            actor=actor,
            action=f"transmission.{verb}",
            object=f"transmission:{sent.transmission_id}",
            changes={"purpose": sent.purpose, "subject": sent.subject, "status": str(sent.status)},
            recorded_at=ports.clock.now(),
        )
    )


def _approvals(unit: Unit, sent: Transmission) -> Sequence[Transmission]:
    return unit.transmissions_of("refund", approval_subject(sent.subject, sent.attempt))
