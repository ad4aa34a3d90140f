"""Each refund against its log, and against what the audit says that people asked for, agreed to and prepared.

What limits a refund is proved elsewhere; here it is proved that the row is the refund that people decided about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.reading.evidence import ChainLog
from evmbilling.domain.refunds.proofs import is_coin_log
from evmbilling.domain.refunds.refunds import carries_out, confirms, evidence_of
from evmbilling.domain.states import RefundStatus
from evmbilling.engine.context import Ports
from evmbilling.engine.refunds.record import known_differences
from evmbilling.engine.verify.chain import Decoder
from evmbilling.engine.verify.report import Findings
from evmbilling.ports.storage import Unit

_ON_CHAIN = frozenset({RefundStatus.DONE, RefundStatus.CONFIRMING})


class RefundRows:
    """Compares refunds, a page at a time.

    Args:
        decoder: reads logs again.
        waiting: movements that the intake still has to look at; their refunds are not compared with the chain.

    Attributes:
        coins: refunds in the coin that are on chain as the evidence says; only a node can prove that.

    """

    def __init__(
        self, ports: Ports, unit: Unit, findings: Findings, decoder: Decoder, waiting: Collection[CreditIdentity]
    ) -> None:
        self._ports = ports
        self._unit = unit
        self._findings = findings
        self._decoder = decoder
        self._moving = {(identity.chain_id, identity.tx_hash) for identity in waiting}
        self.coins: list[Refund] = []

    def check(self, page: Sequence[Refund]) -> None:
        """Find every refund of a page that is not what was decided, or not what the chain shows."""
        logs = self._unit.logs_of([refund.identity for refund in page if refund.identity is not None])
        for refund in page:
            subject = f"refund:{refund.refund_id}"
            for reason in self._unlike_log(refund, logs):
                self._findings.add("refund_evidence_differs", subject, found=refund.status, reason=reason)
            for name, expected, found in known_differences(self._ports, self._unit, refund):
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
        elif is_coin_log(log):
            self.coins.append(refund)

    def _carried_out(self, refund: Refund, log: ChainLog) -> bool:
        """Whether a log is this refund: the treasury's transfer, or with the contract's event in its transaction."""
        if refund.via == "transfer":
            if is_coin_log(log) and not self._is_named(refund, log):
                return False
            seen = self._decoder.read(log)
            return seen is not None and carries_out(refund, seen)
        beside = self._unit.logs_of_transactions(log.chain_id, {log.tx_hash})
        events = (self._decoder.read(one) for one in beside)
        return any(
            event is not None and confirms(refund, event) for event in events if event and event.kind == "refund"
        )

    def _is_named(self, refund: Refund, log: ChainLog) -> bool:
        """Whether a transaction is named for this refund, and for no other."""
        named = self._unit.proofs(log.chain_id, [log.tx_hash])
        return [proof.refund_id for proof in named if proof.state != "refused"] == [refund.refund_id]
