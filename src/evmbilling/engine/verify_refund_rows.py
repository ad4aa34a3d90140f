"""Each refund against its log, and against what the audit says that people asked for, agreed to and prepared.

What limits a refund is proved elsewhere; here it is proved that the row is the refund that people decided about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from evmbilling.domain.credit import OVER
from evmbilling.domain.events import AuditEntry
from evmbilling.domain.evidence import ChainLog
from evmbilling.domain.identity import CreditIdentity, make_reference
from evmbilling.domain.receipts import Refund
from evmbilling.domain.refunds import carries_out, confirms, evidence_of
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.context import Ports
from evmbilling.engine.refund_addresses import mark_address
from evmbilling.engine.verify_chain import Decoder
from evmbilling.engine.verify_report import Findings
from evmbilling.ports.storage import Unit

_BY_PEOPLE = frozenset({RefundStatus.REQUESTED, RefundStatus.APPROVED, RefundStatus.PREPARED, RefundStatus.CANCELLED})
"""States that a refund reaches by what somebody does, and that the audit tells therefore."""
_LET_GO = frozenset({"prepared", "cancelled", "failed"})
"""What the audit said last of a refund that left, or that a relay has taken over."""
_MOST_ENTRIES = 1000
_ON_CHAIN = frozenset({RefundStatus.DONE, RefundStatus.CONFIRMING})


class RefundRows:
    """Compares refunds, a page at a time.

    Args:
        decoder: reads logs again.
        waiting: movements that the intake still has to look at; their refunds are not compared with the chain.

    """

    def __init__(
        self, ports: Ports, unit: Unit, findings: Findings, decoder: Decoder, waiting: Collection[CreditIdentity]
    ) -> None:
        self._ports = ports
        self._unit = unit
        self._findings = findings
        self._decoder = decoder
        self._moving = {(identity.chain_id, identity.tx_hash) for identity in waiting}

    def check(self, page: Sequence[Refund]) -> None:
        """Find every refund of a page that is not what was decided, or not what the chain shows."""
        logs = self._unit.logs_of([refund.identity for refund in page if refund.identity is not None])
        for refund in page:
            subject = f"refund:{refund.refund_id}"
            for reason in self._unlike_log(refund, logs):
                self._findings.add("refund_evidence_differs", subject, found=refund.status, reason=reason)
            for name, expected, found in (*self._unlike_audit(refund), *self._unlike_money(refund)):
                self._findings.add("refund_record_differs", subject, expected=expected, found=found, reason=name)

    def _unlike_log(self, refund: Refund, logs: Mapping[CreditIdentity, ChainLog]) -> Iterator[str]:
        """Give what of a refund is not as its transaction shows it."""
        identity = refund.identity
        if identity is not None and (identity.chain_id, identity.tx_hash) in self._moving:
            return
        log = logs.get(identity) if identity is not None else None
        if log is None:
            if refund.evidence is not None or refund.status is RefundStatus.DONE:
                yield "no_evidence"
            return
        if refund.evidence is None:
            yield "evidence_is_there"
            return
        if refund.status not in _ON_CHAIN:
            yield "status"
        if refund.evidence != evidence_of(log) or refund.tx_hash != log.tx_hash:
            yield "block"
        if not self._carried_out(refund, log):
            yield "content"

    def _carried_out(self, refund: Refund, log: ChainLog) -> bool:
        """Whether a log is this refund: the treasury's transfer, or with the contract's event in its transaction."""
        if refund.via == "transfer":
            seen = self._decoder.read(log)
            return seen is not None and carries_out(refund, seen)
        beside = self._unit.logs_of_transactions(log.chain_id, {log.tx_hash})
        events = (self._decoder.read(one) for one in beside)
        return any(
            event is not None and confirms(refund, event) for event in events if event and event.kind == "refund"
        )

    def _unlike_audit(self, refund: Refund) -> Iterator[tuple[str, object, object]]:
        """Give what of a refund is not as people asked for it or agreed to it: name, what they did, what is stored."""
        entries = self._unit.audit(object_=f"refund:{refund.refund_id}", limit=_MOST_ENTRIES)
        asked = next((e for e in entries if e.action == "refund.request"), None)
        if asked is None:
            yield "nobody_asked", "", refund.requested_by
            return
        agreed = [e.actor for e in entries if e.action == "refund.approve"]
        last = entries[-1]
        told = {
            "requested_by": (asked.actor, refund.requested_by),
            "approved_by": (agreed[-1] if agreed else None, refund.approved_by),
            "amount": (asked.changes.get("amount"), str(refund.amount)),
            "address": (self._address(refund, last), mark_address(self._ports, refund)),
            "status": (_status(refund, last), str(refund.status)),
        }
        yield from ((name, expected, found) for name, (expected, found) in told.items() if expected != found)

    def _unlike_money(self, refund: Refund) -> Iterator[tuple[str, object, object]]:
        """Give what of a refund is not that of the order or the receipt whose money it returns."""
        name = make_reference(self._ports.storage.instance_id(), refund.refund_id)
        told: dict[str, tuple[object, object]] = {"on_chain_id": (name.hex(), refund.on_chain_id.hex())}
        order = self._unit.order(refund.ledger_id) if refund.ledger_id else None
        receipts = self._unit.receipts([refund.receipt_id]) if refund.receipt_id else {}
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

    def _address(self, refund: Refund, last: AuditEntry) -> object:
        erased = refund.address is None and refund.status in OVER and refund.prepared_at is None
        return None if erased else last.changes.get("address")


def _status(refund: Refund, last: AuditEntry) -> object:
    """Return the state that the audit lets a refund be in; its own where only the chain or a relay can say."""
    said = last.changes.get("status")
    return str(refund.status) if refund.status not in _BY_PEOPLE and said in _LET_GO else said
