"""Reads of our own transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from evmbilling.adapters.sqlalchemy.reading.session import Session, any_word, several
from evmbilling.adapters.sqlalchemy.rows import sending
from evmbilling.adapters.sqlalchemy.tables.sending import OPEN

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from evmbilling.adapters.sqlalchemy.tables import Tables
    from evmbilling.domain.refunds.proofs import RefundProof
    from evmbilling.domain.selling.deposits import Deposit, DepositState
    from evmbilling.domain.sending.transmissions import Purpose, SignedTransaction, Transmission

_STUCK = "(failures > 0 OR next_at IS NULL)"
DEPOSITS_IN: Mapping[DepositState, str] = {
    "empty": "seen_at IS NULL",
    "waiting": f"seen_at IS NOT NULL AND NOT {_STUCK}",
    "stuck": f"seen_at IS NOT NULL AND {_STUCK}",
}
"""Each state of a deposit address, as :attr:`evmbilling.domain.selling.deposits.Deposit.state` says it."""


class SendingStatements:
    """Built once per prefix and schema."""

    def __init__(self, tables: Tables) -> None:
        sent, signed = tables["transmissions"], tables["signed_transactions"]
        everything, columns = sa.select(sent), sent.c
        of_sender = (columns.chain_id == bindparam("chain_id"), columns.sender == bindparam("sender"))
        is_open = sa.text(OPEN)
        self.one = everything.where(columns.transmission_id == bindparam("transmission_id"))
        self.of_subject = everything.where(
            any_word(columns.purpose) == bindparam("purpose"), columns.subject == bindparam("subject")
        ).order_by(columns.attempt)
        self.page = (
            everything.where(columns.transmission_id > bindparam("after"))
            .order_by(columns.transmission_id)
            .limit(bindparam("most"))
        )
        self.in_states = self.page.where(any_word(columns.status).in_(several("states")))
        self.due_lanes = (
            sa.select(columns.chain_id, columns.sender)
            .where(is_open, columns.next_at <= bindparam("now"))
            .distinct()
            .order_by(columns.chain_id, columns.sender)
        )
        self.lane = (
            everything.where(is_open, *of_sender)
            .order_by(sa.nulls_last(columns.nonce), columns.transmission_id)
            .limit(bindparam("most"))
        )
        self.last_nonce = sa.select(sa.func.max(columns.nonce)).where(columns.nonce.is_not(None), *of_sender)
        self.last_mined = self.last_nonce.where(columns.block_time < bindparam("before"))
        self.count_mined = sa.select(sa.func.count()).where(
            columns.mined_hash.is_not(None),
            columns.nonce >= bindparam("first"),
            columns.nonce < bindparam("below"),
            *of_sender,
        )
        held = tables["deposits"]
        self.deposit = sa.select(held).where(held.c.ledger_id == bindparam("ledger_id"))
        self.deposits = (
            sa.select(held)
            .where(held.c.ledger_id > bindparam("after"))
            .order_by(held.c.ledger_id)
            .limit(bindparam("most"))
        )
        self.deposits_in: dict[str, sa.Select[Any]] = {
            state: self.deposits.where(sa.text(text)) for state, text in DEPOSITS_IN.items()
        }
        self.due_deposits = (
            sa.select(held)
            .where(held.c.chain_id == bindparam("chain_id"), sa.text("next_at IS NOT NULL"))
            .where(held.c.next_at <= bindparam("now"))
            .order_by(held.c.next_at, held.c.ledger_id)
            .limit(bindparam("most"))
        )
        proofs = tables["refund_proofs"]
        of_chain = sa.select(proofs).where(proofs.c.chain_id == bindparam("chain_id"))
        self.proofs = of_chain.where(proofs.c.tx_hash.in_(several("tx_hashes"))).order_by(proofs.c.tx_hash)
        self.proofs_of = (
            sa.select(proofs)
            .where(proofs.c.refund_id == bindparam("refund_id"))
            .order_by(proofs.c.named_at, proofs.c.chain_id, proofs.c.tx_hash)
        )
        self.due_proofs = (
            of_chain.where(sa.text("state = 'open'"), proofs.c.next_at <= bindparam("now"))
            .order_by(proofs.c.next_at, proofs.c.tx_hash)
            .limit(bindparam("most"))
        )
        self.versions = (
            sa.select(signed)
            .where(signed.c.transmission_id.in_(several("transmission_ids")))
            .order_by(signed.c.transmission_id, signed.c.seq)
        )


class TransmissionReader(Session):
    """Implements :class:`evmbilling.ports.sending.TransmissionReads`, and ``ProofReads`` of its neighbour."""

    def transmission(self, transmission_id: str) -> Transmission | None:
        """Return a transmission."""
        row = self._one(self._statements.sending.one, transmission_id=transmission_id)
        return None if row is None else sending.read_transmission(row)

    def transmissions_of(self, purpose: Purpose, subject: str) -> Sequence[Transmission]:
        """Return every attempt for a subject, the first one first."""
        found = self._all(self._statements.sending.of_subject, purpose=purpose, subject=subject)
        return [sending.read_transmission(row) for row in found]

    def transmissions(
        self, *, states: Collection[str] = (), after: str = "", limit: int = 100
    ) -> Sequence[Transmission]:
        """Return a page of transmissions by id, all or those in these states."""
        statements = self._statements.sending
        if states:
            found = self._all(statements.in_states, states=sorted(states), after=after, most=limit)
        else:
            found = self._all(statements.page, after=after, most=limit)
        return [sending.read_transmission(row) for row in found]

    def due_lanes(self, now: datetime) -> Sequence[tuple[int, str]]:
        """Return (chain id, sender) wherever an open transmission is due, in that order."""
        return [(row.chain_id, row.sender) for row in self._all(self._statements.sending.due_lanes, now=now)]

    def lane(self, chain_id: int, sender: str, limit: int) -> Sequence[Transmission]:
        """Return open transmissions of a sender: those that hold a nonce by it, then the queued ones by id."""
        found = self._all(self._statements.sending.lane, chain_id=chain_id, sender=sender, most=limit)
        return [sending.read_transmission(row) for row in found]

    def last_nonce(self, chain_id: int, sender: str, *, mined_before: datetime | None = None) -> int | None:
        """Return the highest nonce that any transmission of a sender ever had; of those in blocks before an instant."""
        statements = self._statements.sending
        if mined_before is None:
            row = self._one(statements.last_nonce, chain_id=chain_id, sender=sender)
        else:
            row = self._one(statements.last_mined, chain_id=chain_id, sender=sender, before=mined_before)
        return None if row is None else row[0]

    def count_mined(self, chain_id: int, sender: str, first: int, below: int) -> int:
        """Return how many nonces of a sender, from ``first`` to before ``below``, ours used up in blocks."""
        limits = {"first": first, "below": below}
        row = self._one(self._statements.sending.count_mined, chain_id=chain_id, sender=sender, **limits)
        return 0 if row is None else int(row[0])

    def signed_versions(self, transmission_ids: Collection[str]) -> Sequence[SignedTransaction]:
        """Return what was signed, by (transmission, seq)."""
        found = self._in(self._statements.sending.versions, "transmission_ids", transmission_ids)
        return [sending.read_signed(row) for row in found]

    def deposit(self, ledger_id: str) -> Deposit | None:
        """Return the deposit address of an order."""
        row = self._one(self._statements.sending.deposit, ledger_id=ledger_id)
        return None if row is None else sending.read_deposit(row)

    def deposits(self, *, states: Collection[str] = (), after: str = "", limit: int = 100) -> Sequence[Deposit]:
        """Return a page of deposit addresses by the ids of their orders, all or those in these states."""
        statements = self._statements.sending
        wanted = [statements.deposits_in[state] for state in sorted(set(states))] or [statements.deposits]
        found = [row for statement in wanted for row in self._all(statement, after=after, most=limit)]
        return sorted(map(sending.read_deposit, found), key=lambda deposit: deposit.ledger_id)[:limit]

    def due_deposits(self, chain_id: int, now: datetime, limit: int) -> Sequence[Deposit]:
        """Return deposit addresses of a chain that are to be looked at, the longest due first."""
        found = self._all(self._statements.sending.due_deposits, chain_id=chain_id, now=now, most=limit)
        return [sending.read_deposit(row) for row in found]

    def proofs(self, chain_id: int, tx_hashes: Collection[bytes]) -> Sequence[RefundProof]:
        """Return what these transactions of a chain are named for, by transaction."""
        found = self._in(self._statements.sending.proofs, "tx_hashes", tx_hashes, chain_id=chain_id)
        return sorted(map(sending.read_proof, found), key=lambda proof: proof.tx_hash)

    def proofs_of(self, refund_id: str) -> Sequence[RefundProof]:
        """Return the transactions that were named for a refund, by (named_at, chain id, transaction)."""
        found = self._all(self._statements.sending.proofs_of, refund_id=refund_id)
        return [sending.read_proof(row) for row in found]

    def due_proofs(self, chain_id: int, now: datetime, limit: int) -> Sequence[RefundProof]:
        """Return open proofs of a chain that are to be looked at, the longest due first."""
        found = self._all(self._statements.sending.due_proofs, chain_id=chain_id, now=now, most=limit)
        return [sending.read_proof(row) for row in found]
