"""Looking for the transactions that are named as what paid refunds in the coin: the chain alone says what they are.

It is part of reading: what is found becomes evidence under the reader's fence, in a block that was read. A
reorganisation takes it back like a log, and the intake matches it like a token's transfer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

import attrs
from attrs import field, frozen

from evmbilling.domain.decisions import Decision, Publish, RecordEvidence, StoreProof
from evmbilling.domain.identity import CreditIdentity
from evmbilling.domain.messages.events import Event, EventType
from evmbilling.domain.payments.receipts import Refund
from evmbilling.domain.reading.evidence import BlockHeader, ChainLog, Cursor, KnownTransaction
from evmbilling.domain.refunds.proofs import (
    FAILED,
    MISSING,
    NONCE_USED,
    NOT_MINED,
    PAID_BY_ANOTHER,
    RELAYER,
    RefundProof,
    coin_log,
    found,
    is_coin_log,
    is_coin_refund,
    misfit,
    refused,
    reopened,
    settled,
    waits,
)
from evmbilling.domain.refunds.refunds import may_appear
from evmbilling.domain.sending.transmissions import Transmission, TransmissionStatus
from evmbilling.engine.reading.base import ReaderWork
from evmbilling.errors import ConfigurationError, Conflict, ProviderError
from evmbilling.ports.storage import Unit

AT_ONCE: Final = 50
"""Proofs that one look at a network asks for at most; the longest due first."""
_ALL: Final = datetime.max.replace(tzinfo=UTC)
_PAGE: Final = 1000


@frozen(kw_only=True)
class Known:
    """What is stored about some proofs.

    Attributes:
        refunds: by id.
        logs: canonical logs that were made of them before.
        counted: transactions that are in the books as something else.
        treasuries: addresses of all treasuries of the chain.
        ended: what the relayer signed and calls failed for ever, by the transaction.

    """

    refunds: Mapping[str, Refund]
    logs: Mapping[CreditIdentity, ChainLog] = field(factory=dict)
    counted: Collection[bytes] = ()
    treasuries: Collection[str] = ()
    ended: Mapping[bytes, Transmission] = field(factory=dict)


def known_of(unit: Unit, chain_id: int, proofs: Sequence[RefundProof]) -> Known:
    """Read what is stored about proofs of one chain."""
    refunds = (unit.refund(refund_id) for refund_id in {proof.refund_id for proof in proofs})
    beside = unit.logs_of_transactions(chain_id, {proof.tx_hash for proof in proofs}) if proofs else ()
    return Known(
        refunds={refund.refund_id: refund for refund in refunds if refund is not None},
        logs={log.identity: log for log in beside if is_coin_log(log)},
        counted={log.tx_hash for log in beside if not is_coin_log(log)},
        treasuries={treasury.address for treasury in unit.treasuries(chain_id)} if proofs else (),
    )


def objection(known: Known, refund: Refund, sent: KnownTransaction) -> str | None:
    """Return why a transaction is not a refund, wherever it is mined; None when it is."""
    reason = misfit(refund, sent)
    if reason is None and sent.to in known.treasuries:
        reason = "own_treasury"
    if reason is None and sent.tx_hash in known.counted:
        reason = "counted"
    return reason


def look_at_proofs(work: ReaderWork, cursor: Cursor, *, everything: bool) -> tuple[Cursor, int]:
    """Look for what is due, or after a reorganisation for everything; return the cursor and how much was found."""
    now = work.ports.clock.now()
    due, known, window = work.runner.read(partial(_load, cursor=cursor, now=_ALL if everything else now))
    if not due or not work.still_ours():
        return cursor, 0
    wanted = [proof.tx_hash for proof in due if proof.identity not in known.logs]
    try:
        sent = work.source.transactions(wanted) if wanted else {}
        lost = _lost(work, cursor, known, sent)
    except ProviderError as error:
        # Blocks were read all the same; what is named is looked for at the next reading.
        work.ports.telemetry.count("reads_failed", network=work.network.name, reason=error.code)
        return cursor, 0
    held = {header.number: header.hash for header in window}
    look = _Look(cursor=cursor, window=held, known=known, lost=lost, now=now)
    for proof in due:
        look.take(proof, sent.get(proof.tx_hash))
    after = attrs.evolve(cursor, fence=work.fence, updated_at=now)
    decisions: list[Decision] = [StoreProof(proof) for proof in look.proofs]
    decisions += [_missing(work, proof, now) for proof in look.missing]
    if look.logs:
        keep_from = cursor.irreversible.number if cursor.irreversible else 0
        decisions.append(RecordEvidence(cursor=after, headers=(), logs=tuple(look.logs), keep_from=keep_from))
    try:
        work.apply(decisions)
    except Conflict:
        return cursor, 0  # somebody named one of them meanwhile
    return (after, len(look.logs)) if look.logs else (cursor, 0)


def _load(unit: Unit, *, cursor: Cursor, now: datetime) -> tuple[Sequence[RefundProof], Known, Sequence[BlockHeader]]:
    due = unit.due_proofs(cursor.chain_id, now, AT_ONCE)
    if not due:
        return (), Known(refunds={}), ()
    known = attrs.evolve(known_of(unit, cursor.chain_id, due), ended=_ended(unit, due))
    return due, known, unit.window(cursor.chain_id)


def _missing(work: ReaderWork, proof: RefundProof, now: datetime) -> Publish:
    """Return the event of a transaction that nobody has mined for long; the version of its row numbers the events."""
    tx_hash = "0x" + proof.tx_hash.hex()
    data = {
        "refund_id": proof.refund_id,
        "network": work.network.name,
        "chain_id": proof.chain_id,
        "tx_hash": tx_hash,
        "named_at": proof.named_at.isoformat(),
    }
    event = Event(
        event_id=work.ports.ids.new_id(),
        type=EventType.REFUND_NOT_MINED,
        aggregate=f"transaction:{proof.chain_id}:{tx_hash}",
        seq=proof.version,
        occurred_at=now,
        recorded_at=now,
        data=data,
    )
    return Publish(event)


def _ended(unit: Unit, due: Sequence[RefundProof]) -> Mapping[bytes, Transmission]:
    names = {proof.refund_id for proof in due if proof.named_by == RELAYER}
    attempts = [one for name in names for one in unit.transmissions_of("refund", f"refund:{name}")]
    failed = {one.transmission_id: one for one in attempts if one.status is TransmissionStatus.FAILED and one.versions}
    versions = unit.signed_versions(failed) if failed else ()
    return {version.tx_hash: failed[version.transmission_id] for version in versions}


def _lost(work: ReaderWork, cursor: Cursor, known: Known, sent: Mapping[bytes, KnownTransaction]) -> Collection[bytes]:
    """Return what can never be mined: the relayer gave it up, and a block that stays has used its number up.

    The relayer's word is not enough. It may have asked a node on another branch, and what is closed here would never be
    found. The chain is therefore asked once more, at the block that this reader calls irreversible.

    Raises:
        ProviderError: no node answers.

    """
    in_no_block = {h: one for h, one in known.ended.items() if h not in sent or sent[h].block is None}
    if not in_no_block or cursor.irreversible is None:
        return ()
    try:
        chain = work.provider.transmitter(work.network)
        senders = {one.sender for one in in_no_block.values()}
        used = {sender: chain.nonce(sender, cursor.irreversible.number) for sender in senders}
    except (ConfigurationError, ProviderError):
        return ()  # the node does not keep what was there: what is open is only asked for once more
    return {h for h, one in in_no_block.items() if one.nonce is not None and one.nonce < used[one.sender]}


def looked_for_again(unit: Unit, chain_id: int, above: int, now: datetime) -> Iterator[StoreProof]:
    """Give the proofs of transactions that a block above a height had ruled out: that block is gone.

    Their numbers are free on the new branch, and one that had failed may succeed: whoever has seen one may send it once
    more. What paid a refund up to that height stays, so nothing else can be that refund.
    """
    after = ""
    while page := unit.refunds(after=after, limit=_PAGE):
        after = page[-1].refund_id
        for refund in page:
            stays = refund.evidence is not None and refund.evidence.block_number <= above
            if stays or refund.asset.chain_id != chain_id or not is_coin_refund(refund):
                continue
            for proof in unit.proofs_of(refund.refund_id):
                if proof.state == "refused" and proof.reason in _BY_A_BLOCK:
                    yield StoreProof(reopened(proof, now))


_BY_A_BLOCK = frozenset({NONCE_USED, FAILED})
"""Why a proof is refused that only an irreversible block rules out."""


class _Look:
    """One look at some proofs of a chain.

    Args:
        window: hashes of the headers that are held, by number.
        lost: transactions that can never be mined.

    Attributes:
        proofs: those that changed. logs: what was found. missing: what somebody has to be told of now.

    """

    def __init__(
        self, *, cursor: Cursor, window: Mapping[int, bytes], known: Known, lost: Collection[bytes], now: datetime
    ) -> None:
        self._cursor, self._window, self._known, self._lost, self._now = cursor, window, known, lost, now
        self._paid: dict[str, bytes] = {}
        self.proofs: list[RefundProof] = []
        self.logs: list[ChainLog] = []
        self.missing: list[RefundProof] = []

    def take(self, proof: RefundProof, sent: KnownTransaction | None) -> None:
        """Say what became of a proof."""
        log = self._known.logs.get(proof.identity)
        if log is not None:
            after = settled(proof) if self._is_irreversible(log.block_number) else found(proof, self._now)
        else:
            refund = self._known.refunds[proof.refund_id]
            after = self._judge(proof, refund, sent)
        self.proofs.append(after)
        if after.reason == MISSING != proof.reason:
            self.missing.append(after)

    def _judge(self, proof: RefundProof, refund: Refund, sent: KnownTransaction | None) -> RefundProof:
        if proof.tx_hash in self._lost:
            return refused(proof, NONCE_USED)
        other = self._paid_by_another(proof, refund)
        if other is not None or sent is None:
            return other or waits(proof, NOT_MINED, self._now)
        reason = objection(self._known, refund, sent)
        if reason is not None:
            return refused(proof, reason)
        block = sent.block
        fits = may_appear(refund) or refund.identity == proof.identity
        if block is None or not self._was_read(block) or not fits:
            return waits(proof, NOT_MINED, self._now)
        if not sent.succeeded:
            final = self._is_irreversible(block.number)
            return refused(proof, FAILED) if final else waits(proof, FAILED, self._now)
        self._paid[refund.refund_id] = proof.tx_hash
        self.logs.append(coin_log(proof.chain_id, sent, block))
        return found(proof, self._now)

    def _paid_by_another(self, proof: RefundProof, refund: Refund) -> RefundProof | None:
        """Return the proof of a refund that another transaction has paid; it may pay it yet while that one can go."""
        evidence = refund.evidence if refund.identity != proof.identity else None
        if evidence is None and refund.refund_id not in self._paid:
            return None
        if evidence is not None and self._is_irreversible(evidence.block_number):
            return refused(proof, PAID_BY_ANOTHER)
        return waits(proof, PAID_BY_ANOTHER, self._now)

    def _was_read(self, block: BlockHeader) -> bool:
        """Whether a block is one that we have read; of those that cannot change any more the headers are not kept."""
        if block.number == self._cursor.block.number:
            return block.hash == self._cursor.block.hash
        held = self._window.get(block.number)
        if held is not None:
            return held == block.hash
        return block.number < self._cursor.block.number and self._is_irreversible(block.number)

    def _is_irreversible(self, number: int) -> bool:
        return self._cursor.irreversible is not None and number <= self._cursor.irreversible.number
