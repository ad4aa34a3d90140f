"""Reads of our own transactions."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from evmbilling.domain.selling.deposits import Deposit
from evmbilling.domain.sending.transmissions import Purpose, SignedTransaction, Transmission


class TransmissionReads(Protocol):
    """What the relayer has to do, and what it did."""

    def transmission(self, transmission_id: str) -> Transmission | None:
        """Return a transmission."""
        ...

    def transmissions_of(self, purpose: Purpose, subject: str) -> Sequence[Transmission]:
        """Return every attempt for a subject, the first one first."""
        ...

    def transmissions(
        self, *, states: Collection[str] = (), after: str = "", limit: int = 100
    ) -> Sequence[Transmission]:
        """Return a page of transmissions by id, all or those in these states."""
        ...

    def due_lanes(self, now: datetime) -> Sequence[tuple[int, str]]:
        """Return (chain id, sender) wherever an open transmission is due, in that order."""
        ...

    def lane(self, chain_id: int, sender: str, limit: int) -> Sequence[Transmission]:
        """Return open transmissions of a sender: those that hold a nonce by it, then the queued ones by id."""
        ...

    def last_nonce(self, chain_id: int, sender: str, *, mined_before: datetime | None = None) -> int | None:
        """Return the highest nonce that any transmission of a sender ever had; of those in blocks before an instant."""
        ...

    def count_mined(self, chain_id: int, sender: str, first: int, below: int) -> int:
        """Return how many nonces of a sender, from ``first`` to before ``below``, ours used up in blocks."""
        ...

    def signed_versions(self, transmission_ids: Collection[str]) -> Sequence[SignedTransaction]:
        """Return what was signed, by (transmission, seq)."""
        ...

    def deposit(self, ledger_id: str) -> Deposit | None:
        """Return the deposit address of an order."""
        ...

    def deposits(self, *, states: Collection[str] = (), after: str = "", limit: int = 100) -> Sequence[Deposit]:
        """Return a page of deposit addresses by the ids of their orders, all or those in these states."""
        ...

    def due_deposits(self, chain_id: int, now: datetime, limit: int) -> Sequence[Deposit]:
        """Return deposit addresses of a chain whose ``next_at`` has come, by (next_at, ledger id)."""
        ...
