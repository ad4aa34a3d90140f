"""What the audit says that people decided about a refund, against what its row says.

Whoever can write to the database can change a row. The audit is sealed, so a row that differs from it is nobody's
decision: it is named by verification, and no transaction is made from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evmbilling.domain.identity import INSTANCE_ID_BYTES, make_reference
from evmbilling.domain.messages.events import AuditEntry
from evmbilling.domain.payments.credit import OVER
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.admin.address_marks import address_marks, key_marks
from evmbilling.engine.context import Ports
from evmbilling.engine.refunds.addresses import PROVED, source_facts
from evmbilling.errors import Conflict
from evmbilling.ports.storage import Unit

_BY_PEOPLE = frozenset({RefundStatus.REQUESTED, RefundStatus.APPROVED, RefundStatus.PREPARED, RefundStatus.CANCELLED})
"""States that a refund reaches by what somebody does, and that the audit tells therefore."""
_LET_GO = frozenset({"prepared", "cancelled", "failed"})
"""What the audit said last of a refund that left, or that a relay has taken over."""
NAMED, UNNAMED = "transaction", "transaction_withdrawn"
"""What somebody does who says which transaction paid a refund in the coin, or takes that back: it decides nothing."""
_NOT_DECIDED = frozenset({f"refund.{NAMED}", f"refund.{UNNAMED}"})
_MOST_ENTRIES = 1000


def _unlike_audit(ports: Ports, unit: Unit, refund: Refund) -> Iterator[tuple[str, object, object]]:
    """Give what of a refund is not as people asked for it or agreed to it: name, what they did, what is stored.

    Each part is compared with the entry that set it, not with what was copied from the row later.
    """
    entries = unit.audit(object_=f"refund:{refund.refund_id}", limit=_MOST_ENTRIES)
    asked = next((e for e in entries if e.action == "refund.request"), None)
    if asked is None:
        yield "nobody_asked", "", refund.requested_by
        return
    agreed = [e.actor for e in entries if e.action == "refund.approve"]
    told = {
        "requested_by": (asked.actor, refund.requested_by),
        "approved_by": (agreed[-1] if agreed else None, refund.approved_by),
        "amount": (asked.changes.get("amount"), str(refund.amount)),
        "address": _address(ports, refund, entries),
        "status": (_status(refund, entries, asked), str(refund.status)),
    }
    # What was asked for before this was written down is compared with the order or the receipt alone.
    told |= {name: (asked.changes[name], now) for name, now in source_facts(refund).items() if name in asked.changes}
    yield from ((name, expected, found) for name, (expected, found) in told.items() if expected != found)


def _unlike_money(ports: Ports, unit: Unit, refund: Refund) -> Iterator[tuple[str, object, object]]:
    """Give what of a refund is not that of the order or the receipt whose money it returns."""
    name = make_reference(ports.storage.instance_id(), refund.refund_id)
    # A copy that was renewed has another instance id than the refunds that came with it.
    known = name[INSTANCE_ID_BYTES:], refund.on_chain_id[INSTANCE_ID_BYTES:]
    told: dict[str, tuple[object, object]] = {"on_chain_id": (known[0].hex(), known[1].hex())}
    order = unit.order(refund.ledger_id) if refund.ledger_id else None
    receipts = unit.receipts([refund.receipt_id]) if refund.receipt_id else {}
    source = order or receipts.get(refund.receipt_id or "")
    if source is not None:
        told["chain_id"] = source.asset.chain_id, refund.asset.chain_id
        told["token"] = source.asset.token, refund.asset.token
        told["treasury"] = source.treasury, refund.treasury
        if refund.status not in OVER:  # money that was not given back may have found its owner since
            told["user_id"] = source.user_id, refund.user_id
    elif refund.ledger_id or refund.receipt_id:
        told["source"] = refund.ledger_id or refund.receipt_id, None
    if order is not None:
        told["reference"] = order.reference.hex(), (refund.reference or b"").hex()
    yield from ((name, expected, found) for name, (expected, found) in told.items() if expected != found)


def unlike_decision(ports: Ports, unit: Unit, refund: Refund) -> Iterator[tuple[str, object, object]]:
    """Give what of a refund's row nobody decided: name, what was decided, what is stored."""
    yield from _unlike_audit(ports, unit, refund)
    yield from _unlike_money(ports, unit, refund)


def known_differences(ports: Ports, unit: Unit, refund: Refund) -> Iterator[tuple[str, object, object]]:
    """Give what :func:`unlike_decision` does, without an address whose fingerprint no key that is here has made.

    Where the money went, the transfer itself says; before there is one, nothing is prepared from such a row.
    """
    for name, expected, found in unlike_decision(ports, unit, refund):
        if name != "address" or refund.address is None or not _of_another_key(ports, unit, refund):
            yield name, expected, found


def _of_another_key(ports: Ports, unit: Unit, refund: Refund) -> bool:
    last = _last_proof(unit.audit(object_=f"refund:{refund.refund_id}", limit=_MOST_ENTRIES))
    key = None if last is None else last.changes.get("key")
    return key is not None and key not in key_marks(ports)


def check_decided(ports: Ports, unit: Unit, refund: Refund) -> None:
    """Refuse to act on a refund whose row is not what people decided.

    Raises:
        Conflict: it is not; ``reason`` names the part. Where the secret key is gone with which the fingerprint of the
            address was made, the address has to be proved again.

    """
    for name, _, _ in unlike_decision(ports, unit, refund):
        raise Conflict("this refund is not what the audit says was decided", field="refund_id", reason=name)


def _address(ports: Ports, refund: Refund, entries: Sequence[AuditEntry]) -> tuple[object, object]:
    """Return the fingerprint of the address that its owner has proved last, and that of the one that is stored."""
    marks = [] if refund.address is None else address_marks(ports, refund.address)
    if not marks and refund.status in OVER and refund.prepared_at is None:
        return None, None  # erased with its owner
    last = _last_proof(entries)
    proved = None if last is None else last.changes.get("address")
    return proved, proved if proved in marks else next(iter(marks), None)


def _last_proof(entries: Sequence[AuditEntry]) -> AuditEntry | None:
    proofs = [entry for entry in entries if entry.action == f"refund.{PROVED}"]
    return proofs[-1] if proofs else None


def _status(refund: Refund, entries: Sequence[AuditEntry], asked: AuditEntry) -> object:
    """Return the state that the audit lets a refund be in; its own where only the chain or a relay can say."""
    waits = asked.changes.get("status") == RefundStatus.REQUESTED
    went_on = refund.status not in {RefundStatus.REQUESTED, *OVER} or refund.prepared_at is not None
    if waits and went_on and all(e.actor == asked.actor for e in entries if e.action == "refund.approve"):
        return str(RefundStatus.REQUESTED)
    decided = [entry for entry in entries if entry.action not in _NOT_DECIDED]
    said = decided[-1].changes.get("status")
    return str(refund.status) if refund.status not in _BY_PEOPLE and said in _LET_GO else said
