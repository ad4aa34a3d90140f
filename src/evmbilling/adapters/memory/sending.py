"""Our own transactions, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import assert_never

from evmbilling.adapters.memory.pages import page_after
from evmbilling.adapters.memory.reads import Reads
from evmbilling.adapters.memory.rows import refer
from evmbilling.adapters.memory.tables import Tables
from evmbilling.adapters.memory.versions import check_saved, replaced
from evmbilling.domain import decisions as d
from evmbilling.domain.refunds.proofs import RefundProof
from evmbilling.domain.selling.deposits import Deposit
from evmbilling.domain.sending.transmissions import OPEN_TRANSMISSIONS, Purpose, SignedTransaction, Transmission
from evmbilling.errors import AlreadyExists, Conflict

SendingDecision = d.StoreTransmission | d.RecordSigned | d.StoreDeposit | d.StoreProof


class MemorySending(Reads):
    """Implements :class:`evmbilling.ports.sending.TransmissionReads`, and ``ProofReads`` of its neighbour."""

    def transmission(self, transmission_id: str) -> Transmission | None:
        """Return a transmission."""
        return self._tables.transmissions.get(transmission_id)

    def transmissions_of(self, purpose: Purpose, subject: str) -> Sequence[Transmission]:
        """Return every attempt for a subject, the first one first."""
        return sorted(self._tables.transmissions.find("subject", (purpose, subject)), key=lambda t: t.attempt)

    def transmissions(
        self, *, states: Collection[str] = (), after: str = "", limit: int = 100
    ) -> Sequence[Transmission]:
        """Return a page of transmissions by id, all or those in these states."""
        found = (t for t in self._tables.transmissions.values() if not states or t.status in states)
        return page_after(found, lambda t: t.transmission_id, after, limit)

    def due_lanes(self, now: datetime) -> Sequence[tuple[int, str]]:
        """Return (chain id, sender) wherever an open transmission is due, in that order."""
        due = (t for t in self._tables.transmissions.values() if t.status in OPEN_TRANSMISSIONS and t.next_at <= now)
        return sorted({(t.chain_id, t.sender) for t in due})

    def lane(self, chain_id: int, sender: str, limit: int) -> Sequence[Transmission]:
        """Return open transmissions of a sender: those that hold a nonce by it, then the queued ones by id."""
        found = self._tables.transmissions.find("lane", (chain_id, sender))
        return sorted(found, key=lambda t: (t.nonce is None, t.nonce or 0, t.transmission_id))[:limit]

    def last_nonce(self, chain_id: int, sender: str, *, mined_before: datetime | None = None) -> int | None:
        """Return the highest nonce that any transmission of a sender ever had; of those in blocks before an instant."""
        own = self._tables.transmissions.find("sender", (chain_id, sender))
        if mined_before is not None:
            own = [t for t in own if t.mined is not None and t.mined.block_time < mined_before]
        return max((t.nonce for t in own if t.nonce is not None), default=None)

    def count_mined(self, chain_id: int, sender: str, first: int, below: int) -> int:
        """Return how many nonces of a sender, from ``first`` to before ``below``, ours used up in blocks."""
        own = self._tables.transmissions.find("sender", (chain_id, sender))
        return sum(t.mined is not None and t.nonce is not None and first <= t.nonce < below for t in own)

    def signed_versions(self, transmission_ids: Collection[str]) -> Sequence[SignedTransaction]:
        """Return what was signed, by (transmission, seq)."""
        found = [
            s for transmission_id in set(transmission_ids) for s in self._tables.signed.find("of", transmission_id)
        ]
        return sorted(found, key=lambda signed: (signed.transmission_id, signed.seq))

    def deposit(self, ledger_id: str) -> Deposit | None:
        """Return the deposit address of an order."""
        return self._tables.deposits.get(ledger_id)

    def deposits(self, *, states: Collection[str] = (), after: str = "", limit: int = 100) -> Sequence[Deposit]:
        """Return a page of deposit addresses by the ids of their orders, all or those in these states."""
        found = [d for d in self._tables.deposits.values() if d.ledger_id > after and (not states or d.state in states)]
        return sorted(found, key=lambda d: d.ledger_id)[:limit]

    def due_deposits(self, chain_id: int, now: datetime, limit: int) -> Sequence[Deposit]:
        """Return deposit addresses of a chain that are to be looked at, the longest due first."""
        found = [d for d in self._tables.deposits.find("chain", chain_id) if d.next_at is not None and d.next_at <= now]
        return sorted(found, key=lambda d: (d.next_at, d.ledger_id))[:limit]

    def proofs(self, chain_id: int, tx_hashes: Collection[bytes]) -> Sequence[RefundProof]:
        """Return what these transactions of a chain are named for, by transaction."""
        found = (self._tables.proofs.get((chain_id, tx_hash)) for tx_hash in sorted(set(tx_hashes)))
        return [proof for proof in found if proof is not None]

    def proofs_of(self, refund_id: str) -> Sequence[RefundProof]:
        """Return the transactions that were named for a refund, by (named_at, chain id, transaction)."""
        return sorted(self._tables.proofs.find("refund", refund_id), key=lambda p: (p.named_at, p.chain_id, p.tx_hash))

    def due_proofs(self, chain_id: int, now: datetime, limit: int) -> Sequence[RefundProof]:
        """Return open proofs of a chain that are to be looked at, the longest due first."""
        due = [p for p in self._tables.proofs.find("chain", chain_id) if p.next_at <= now]
        return sorted(due, key=lambda p: (p.next_at, p.tx_hash))[:limit]


def _store(tables: Tables, given: Transmission) -> None:
    """Insert version 1 of a transmission, or replace the version below."""
    stored = tables.transmissions.get(given.transmission_id)
    if given.version > 1:
        replaced(stored, given)
    else:
        check_saved(stored, given)
    others = [
        other
        for other in tables.transmissions.find("subject", (given.purpose, given.subject))
        if other.transmission_id != given.transmission_id
    ]
    if any(other.attempt == given.attempt for other in others):
        raise Conflict("this attempt exists", field="subject")
    if given.status in OPEN_TRANSMISSIONS and any(other.status in OPEN_TRANSMISSIONS for other in others):
        raise Conflict("a transaction for this is on its way", field="subject")
    same_sender = tables.transmissions.find("sender", (given.chain_id, given.sender))
    if given.nonce is not None and any(
        other.nonce == given.nonce and other.transmission_id != given.transmission_id for other in same_sender
    ):
        raise Conflict("another transaction of this sender has this nonce", field="nonce")
    tables.transmissions.put(given.transmission_id, given)


def _record(tables: Tables, signed: SignedTransaction) -> None:
    """Append a signed version."""
    refer(tables.transmissions, signed.transmission_id, field="transmission_id")
    key = (signed.transmission_id, signed.seq)
    if tables.signed.get(key) is not None:
        raise AlreadyExists("this version is signed", field="seq")
    if any(tables.signed.find("hash", signed.tx_hash)):
        raise AlreadyExists("this transaction is signed", field="tx_hash")
    tables.signed.put(key, signed)


def _name(tables: Tables, proof: RefundProof) -> None:
    """Insert version 1 of a proof, or replace the version below."""
    stored = tables.proofs.get((proof.chain_id, proof.tx_hash))
    if proof.version > 1:
        replaced(stored, proof)
    elif stored is not None:
        raise AlreadyExists("this transaction is named for a refund", field="tx_hash")
    refer(tables.refunds, proof.refund_id, field="refund_id")
    tables.proofs.put((proof.chain_id, proof.tx_hash), proof)


def write(tables: Tables, decision: SendingDecision) -> None:
    """Write one decision about our own transactions."""
    match decision:
        case d.StoreTransmission(transmission):
            _store(tables, transmission)
        case d.RecordSigned(signed):
            _record(tables, signed)
        case d.StoreDeposit(deposit):
            check_saved(tables.deposits.get(deposit.ledger_id), deposit)
            refer(tables.orders, deposit.ledger_id, field="ledger_id")
            tables.deposits.put(deposit.ledger_id, deposit)
        case d.StoreProof(proof):
            _name(tables, proof)
        case _:
            assert_never(decision)
