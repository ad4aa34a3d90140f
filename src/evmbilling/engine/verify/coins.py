"""Refunds in the chain's own coin against the chain itself.

No log and no balance proves one: nodes are asked for each transaction, and where there are several others than the one
that is read from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.reading.evidence import KnownTransaction
from evmbilling.domain.refunds.proofs import FAILED, misfit
from evmbilling.engine.verify.elsewhere import Witnesses
from evmbilling.engine.verify.report import Findings
from evmbilling.engine.verify.treasury import ChainQuestion
from evmbilling.errors import BillingError, ChainMismatch
from evmbilling.ports.chain import ChainSource

AT_ONCE: Final = 50
"""Transactions that a node is asked for at once."""


class CoinRefundCheck:
    """Asks the nodes for the transactions of refunds, and compares."""

    def __init__(self, findings: Findings, refunds: Iterable[Refund]) -> None:
        self._findings = findings
        self._refunds: dict[int, list[Refund]] = defaultdict(list)
        for refund in refunds:
            self._refunds[refund.asset.chain_id].append(refund)

    def run(self, questions: Sequence[ChainQuestion]) -> None:
        """Find every refund whose transaction the chain does not show as it is recorded."""
        for question in questions:
            own = self._refunds.pop(question.network.chain_id, [])
            for start in range(0, len(own), AT_ONCE):
                self._compare(question, own[start : start + AT_ONCE])
        for own in self._refunds.values():
            for refund in own:
                self._findings.add("unproved", f"refund:{refund.refund_id}", reason="not_watched")

    def _compare(self, question: ChainQuestion, refunds: Sequence[Refund]) -> None:
        self._findings.looked_at("coin_refunds", len(refunds))
        try:
            sent = _ask(question, [refund.tx_hash for refund in refunds if refund.tx_hash is not None])
        except BillingError as error:
            for refund in refunds:
                self._findings.add("unproved", f"refund:{refund.refund_id}", reason=error.code)
            return
        for refund in refunds:
            reason = _fault(refund, sent.get(refund.tx_hash or b""))
            if reason is not None:
                subject = f"refund:{refund.refund_id}"
                self._findings.add("refund_evidence_differs", subject, found=refund.status, reason=reason)


def _ask(question: ChainQuestion, hashes: Sequence[bytes]) -> Mapping[bytes, KnownTransaction]:
    """Ask for transactions, of the chain on which the block stands up to which everything was read.

    Raises:
        BillingError: no node could say, or the chain is another one by now.

    """
    block = question.block
    if block is None:
        raise ChainMismatch("this network was never read", chain_id=question.network.chain_id)
    witnesses = Witnesses.of(question.provider, question.network, block)
    if not witnesses.sources:
        raise ChainMismatch("the chain has changed", chain_id=question.network.chain_id)

    def ask(source: ChainSource) -> Mapping[bytes, KnownTransaction]:
        found = source.transactions(hashes)
        if source.header(block.number) != block:
            raise ChainMismatch("the chain has changed", chain_id=source.chain_id)
        return found

    return witnesses.ask(ask)


def _fault(refund: Refund, sent: KnownTransaction | None) -> str | None:
    """Return what of a refund is not as its transaction says; None when all is."""
    evidence = refund.evidence
    if sent is None or sent.block is None:
        return "not_on_chain"
    if not sent.succeeded:
        return FAILED
    if misfit(refund, sent) is not None:
        return "content"
    placed = evidence is not None and (evidence.block_number, evidence.block_hash) == (
        sent.block.number,
        sent.block.hash,
    )
    return None if placed else "block"
