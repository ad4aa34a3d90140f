"""Reads of the transactions that are named as what paid refunds in the chain's own coin."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from evmbilling.domain.refunds.proofs import RefundProof


class ProofReads(Protocol):
    """Which transactions were named, for which refunds."""

    def proofs(self, chain_id: int, tx_hashes: Collection[bytes]) -> Sequence[RefundProof]:
        """Return what these transactions of a chain are named for, by transaction."""
        ...

    def proofs_of(self, refund_id: str) -> Sequence[RefundProof]:
        """Return the transactions that were named for a refund, by (named_at, chain id, transaction)."""
        ...

    def due_proofs(self, chain_id: int, now: datetime, limit: int) -> Sequence[RefundProof]:
        """Return open proofs of a chain whose ``next_at`` has come, by (next_at, transaction)."""
        ...
